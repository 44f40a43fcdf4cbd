//! What would hold if the node were started: every option, its value and where that came from.
//!
//! Must not start anything, nor ask the network. Shown as a config file, so that it can be kept as one.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use clap::ArgMatches;
use memring_engine::node::Namespace;

use super::layers::{Givens, Source, given_by};
use super::options::{CHOICES, Choice, Takes};
use super::{Config, ConfigError};

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The config file.
    File,
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// Options and namespaces as they would hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Effective {
    /// In the order of the help.
    pub options: Vec<EffectiveOption>,
    /// Levels by key prefix.
    pub namespaces: Vec<Namespace>,
}

/// One option as it would hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectiveOption {
    /// Its flag without the dashes, its key in the file.
    pub name: &'static str,
    /// As it would be written; `None` if there is no value, or one that is known only at the start.
    pub value: Option<String>,
    /// What that is, in words.
    pub derived: Option<&'static str>,
    /// Where the value came from.
    pub origin: Origin,
}

/// Reads flags, environment and file as for a start, and tries the folders that they name: `--data-dir` is made.
pub fn effective(matches: &ArgMatches) -> Result<Effective, ConfigError> {
    let (config, givens) = given_by(matches)?;
    check_folders(&config)?;
    Ok(Effective { options: options(&givens), namespaces: config.namespaces })
}

fn options(givens: &Givens) -> Vec<EffectiveOption> {
    // What the help is silent about is told only if somebody has used it.
    let shown = CHOICES.iter().filter(|choice| !choice.help.is_empty() || givens.contains_key(choice.name));
    shown.map(|choice| option(choice, givens)).collect()
}

fn option(choice: &Choice, givens: &Givens) -> EffectiveOption {
    let name = choice.name;
    if let Some(given) = givens.get(name) {
        let origin = match given.source {
            Source::Flag | Source::Memcached(_) => Origin::Flag,
            Source::Environment => Origin::Environment,
            Source::File(_) => Origin::File,
        };
        return EffectiveOption { name, value: Some(given.text.clone()), derived: None, origin };
    }
    let (value, derived) = match (choice.takes, choice.default) {
        (Takes::Nothing, _) => (Some("false"), None),
        (Takes::Count, _) => (Some("0"), None),
        (_, "") => (None, None),
        (_, words) if words.contains(' ') => (None, Some(words)),
        (_, text) => (Some(text), None),
    };
    EffectiveOption { name, value: value.map(str::to_owned), derived, origin: Origin::Default }
}

/// The folder of the socket that the node would make. Its data folder was tried when the option was read.
fn check_folders(config: &Config) -> Result<(), ConfigError> {
    match config.socket.as_deref().map(Path::new) {
        Some(path) => try_folder(path).map_err(|error| ConfigError(format!("--socket {}: {error}", path.display()))),
        None => Ok(()),
    }
}

/// Makes a file beside this one, and removes it.
fn try_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let trial = folder.join(format!(".memring-check-{}", std::process::id()));
    OpenOptions::new().create_new(true).write(true).open(&trial)?;
    std::fs::remove_file(trial)
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for EffectiveOption { name, value, derived, origin } in &self.options {
            match (value, derived) {
                // What nobody has asked for is not asked for in a file that this is kept as: a port beside a socket, say.
                (Some(value), _) if *origin == Origin::Default => {
                    writeln!(f, "# {name} = {}", toml::Value::String(value.clone()))?;
                }
                (Some(value), _) => {
                    let line = format!("{name} = {}", toml::Value::String(value.clone()));
                    writeln!(f, "{line:<40} # {}", origin.name())?;
                }
                (None, Some(words)) => writeln!(f, "# {name}: {words}")?,
                (None, None) => writeln!(f, "# {name}: none")?,
            }
        }
        for namespace in &self.namespaces {
            let prefix = String::from_utf8_lossy(&namespace.prefix).into_owned();
            writeln!(f, "\n[[namespace]]\nprefix = {}", toml::Value::String(prefix))?;
            for (name, level) in [("read", namespace.read), ("write", namespace.write)] {
                if let Some(level) = level {
                    writeln!(f, "{name} = {}", toml::Value::String(level.to_string()))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::config::command;

    fn read(words: &[&str]) -> Result<Effective, String> {
        let words = std::iter::once("serve").chain(words.iter().copied());
        let matches = command(Command::new("serve")).try_get_matches_from(words).expect("legal flags");
        effective(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_shown_is_a_file_that_says_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memring.toml");
        let path = path.to_str().expect("text");
        std::fs::write(path, "zone = 'a'\nverbose = 1\n[[namespace]]\nprefix = 'lock:'\nread = 'all'\n")
            .expect("written");
        let socket = folder.path().join("socket");
        let socket = socket.to_str().expect("text");
        let flags = ["--config", path, "-m", "1g", "--join", "a,b:7", "--sloppy", "--socket", socket];
        let first = read(&flags).expect("legal");
        let of = |name| first.options.iter().find(|option| option.name == name).expect(name).clone();
        assert_eq!((of("memory-limit").value.as_deref(), of("memory-limit").origin), (Some("1g"), Origin::Flag));
        assert_eq!((of("zone").value.as_deref(), of("zone").origin), (Some("a"), Origin::File));
        assert_eq!((of("port").value.as_deref(), of("port").origin), (Some("11211"), Origin::Default));
        assert_eq!((of("threads").value, of("threads").derived), (None, Some("one a core")));
        assert_eq!(of("sloppy").value.as_deref(), Some("true"));
        let shown = first.to_string();
        assert!(!shown.contains("until-stdin-closes"), "hidden, and not given: {shown}");

        std::fs::write(path, &shown).expect("written");
        let again = read(&["--config", path]).expect("legal");
        let values = |effective: &Effective| -> Vec<_> {
            let shown = effective.options.iter();
            shown.map(|option| (option.name, option.value.clone(), option.origin == Origin::Default)).collect()
        };
        assert_eq!(values(&again), values(&first));
        assert_eq!(again.namespaces, first.namespaces);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing but the file is left");
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_one_line() {
        for (words, line) in [
            (["--socket", "/nowhere/s"], "--socket /nowhere/s: No such file or directory (os error 2)"),
            (["--port", "x"], "--port x: expected a number from 0 to 65535"),
        ] {
            assert_eq!(read(&words).map(|_| ()), Err(line.to_owned()));
        }
    }
}
