//! The page that keeps the tables: what was measured is put between two marks, all else is people's.
//!
//! Must not know what the tables say.

use std::io::{Error, Result};
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- begin: written by make bench -->";
const END: &str = "<!-- end: written by make bench -->";

/// Puts the tables into a page that has both marks. Fails, without a change, if it does not.
pub(crate) fn write(path: &Path, tables: &str) -> Result<()> {
    let failed = |error| Error::other(format!("{}: {error}", path.display()));
    let page = std::fs::read_to_string(path).map_err(failed)?;
    let marked = || failed(Error::other(format!("has no lines {BEGIN} and {END}")));
    std::fs::write(path, replaced(&page, tables).ok_or_else(marked)?).map_err(failed)
}

fn replaced(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

/// When, on what, what and how: the lines above the tables.
pub(crate) fn facts(names: &[String], command: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "- when: {date}\n- machine: {}, cores: {}, Linux {}\n- versions: {}\n- command: `{command}`\n",
        model_in(&processors),
        processors.lines().filter(|line| line.starts_with("processor")).count(),
        read("/proc/sys/kernel/osrelease").trim(),
        names.join(", ")
    )
}

fn model_in(cpuinfo: &str) -> &str {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("a processor without a name", |(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, model_in, replaced};

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let expected = format!("# Page\n\n{BEGIN}\n\nnew\n\n{END}\n\nmore\n");
        assert_eq!(replaced(&page, "new\n"), Some(expected.clone()));
        assert_eq!(replaced(&expected, "new"), Some(expected));
        assert_eq!(replaced("# Page\n", "new"), None);
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(model_in("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: fpu\n"), "AMD EPYC");
        assert_eq!(model_in(""), "a processor without a name");
    }
}
