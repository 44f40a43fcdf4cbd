//! House rules that no compiler checks, each a test named by its sentence.
//!
//! A failure prints one line a violation, `file:line: what is wrong`. The rules are those of ARCHITECTURE.md ("Who may
//! import whom") and CONTRIBUTING.md ("Style").

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Production lines a file may have: what fits in a reader's head at one sitting.
const FILE_LINES_MAX: usize = 400;

/// Lines a function may have: one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing of what is inside.
const BANNED_MODULES: [&str; 9] = ["helper", "helpers", "util", "utils", "common", "manager", "data", "info", "system"];

/// A file of the repository, read once.
struct Source {
    /// Relative to the top, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, wanted: &[&str]) -> bool {
        wanted.iter().any(|extension| self.path.ends_with(&format!(".{extension}")))
    }

    /// Lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Lines that are not wholly a comment.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Test code as a whole: its size is not limited.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Number of lines above the test module at the end of the file.
    fn production_len(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens_tests =
            |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].trim_end().ends_with('{');
        lines.windows(2).position(opens_tests).unwrap_or(lines.len())
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace").to_owned()
}

/// Every text file of the repository that people write. Hidden and generated folders are left out.
fn sources() -> Vec<Source> {
    const EXTENSIONS: [&str; 11] = ["rs", "md", "toml", "py", "sh", "go", "yml", "yaml", "json", "html", "js"];
    let (top, mut found) = (top(), Vec::new());
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("a folder entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                let generated = ["target", "corpus", "artifacts", "coverage", "node_modules", "__pycache__"];
                if !name.starts_with('.') && !generated.contains(&name) {
                    folders.push(path);
                }
            } else if name == "Makefile" || EXTENSIONS.iter().any(|e| name.ends_with(&format!(".{e}"))) {
                let relative =
                    path.strip_prefix(&top).expect("found below the top").to_string_lossy().replace('\\', "/");
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{relative}: {error}"));
                found.push(Source { path: relative, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust_sources() -> Vec<Source> {
    let found: Vec<Source> = sources().into_iter().filter(|source| source.has_extension(&["rs"])).collect();
    assert!(found.len() >= 8, "tidy looked at {} Rust files: it does not see the workspace", found.len());
    found
}

/// Fails with all violations at once, so that one run shows all there is to do.
#[track_caller]
fn assert_none(violations: &[String]) {
    let mut listing = String::new();
    for violation in violations {
        let _ = writeln!(listing, "  {violation}");
    }
    assert!(violations.is_empty(), "{} violation(s):\n{listing}", violations.len());
}

/// Whether `word` stands in `line` with no letter, digit or underscore beside it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    line.match_indices(word).any(|(at, _)| {
        let bytes = line.as_bytes();
        !is_part(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_part(bytes.get(at + word.len()))
    })
}

/// The functions of a file's production lines: (line, name, number of lines). Leans on rustfmt: the brace that closes
/// a function stands alone at the function's own indentation.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = source.text.lines().take(source.production_len()).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(open) = lines[at..].iter().position(|l| l.ends_with(['{', '}', ';'])) else { continue };
        if !lines[at + open].ends_with('{') {
            continue; // A declaration, or a body on one line.
        }
        let close = format!("{indent}}}");
        let Some(end) = lines[at + open..].iter().position(|l| **l == close) else { continue };
        found.push((at + 1, name.to_owned(), open + end + 1));
    }
    found
}

/// The name of the function whose signature starts on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let qualifiers = ["const", "async", "unsafe", "extern", "\"C\"", "default"];
    let plain = |word: &str| word.starts_with("pub") || word.ends_with(')') || qualifiers.contains(&word);
    let name = after.split(['(', '<']).next()?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (before.split_whitespace().all(plain) && named).then_some(name)
}

/// The module that a file of a crate is, as a path: `crate::cluster::read`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside).trim_end_matches(".rs");
    let parts = inside.split('/').filter(|part| !["mod", "lib", "main"].contains(part));
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

/// Every path that a file names: its `use` trees spelled out and `super` resolved, and paths in the code.
fn named_paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut tree: Option<(usize, String)> = None;
    for (number, line) in source.code_lines() {
        let code = line.split(" //").next().unwrap_or(line).trim();
        let starts_use = code.starts_with("use ") || (code.starts_with("pub") && code.contains(" use "));
        if tree.is_none() && starts_use {
            tree = Some((number, String::new()));
        }
        let Some((first, text)) = &mut tree else {
            let is_break = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
            found.extend(code.split(is_break).filter(|word| word.contains("::")).map(|w| (number, w.to_owned())));
            continue;
        };
        text.push_str(code);
        if code.ends_with(';') {
            let spelled = text.split_once("use ").map_or("", |(_, paths)| paths).trim_end_matches(';');
            found.extend(spell_out("", spelled).into_iter().map(|path| (*first, path)));
            tree = None;
        }
    }
    let module = module_of(&source.path);
    for (_, path) in &mut found {
        *path = resolve(&module, path);
    }
    found
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spell_out(prefix: &str, tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![format!("{prefix}{}", tree.trim())];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    let body = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let prefix = format!("{prefix}{}", head.trim());
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = body[start..at].trim();
                if !branch.is_empty() {
                    found.extend(spell_out(&prefix, branch));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// Turns a leading chain of `super::` or `self::` into a path from the crate.
fn resolve(module: &[String], path: &str) -> String {
    let (mut from, mut rest) = (module.to_vec(), path);
    if let Some(after) = rest.strip_prefix("self::") {
        rest = after;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(after) = rest.strip_prefix("super::") {
        from.pop();
        rest = after;
    }
    format!("{}::{rest}", from.join("::"))
}

/// Violations: files below `room` that name one of the `banned` paths or something inside it.
fn naming(room: &str, banned: &[&str], allowed: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for source in rust_sources().iter().filter(|source| in_room(&source.path, room)) {
        for (line, path) in named_paths(source) {
            let inside = |ban: &&&str| path == **ban || path.starts_with(&format!("{ban}::"));
            if let Some(ban) = banned.iter().find(inside)
                && !allowed(&source.path, &path)
            {
                violations.push(format!("{}:{line}: {room} must not name {ban} (here as {path})", source.path));
            }
        }
    }
    violations
}

/// `engine/src/store` holds engine/src/store.rs and everything below engine/src/store/.
fn in_room(path: &str, room: &str) -> bool {
    path == format!("{room}.rs") || path.starts_with(&format!("{room}/"))
}

#[test]
fn every_rust_file_says_on_its_first_line_what_it_is_for() {
    let silent = |source: &&Source| !source.text.starts_with("//! ");
    let violations: Vec<String> =
        rust_sources().iter().filter(silent).map(|s| format!("{}:1: starts without `//! `", s.path)).collect();
    assert_none(&violations);
}

#[test]
fn no_file_has_more_than_400_production_lines() {
    let mut violations = Vec::new();
    for source in rust_sources().iter().filter(|source| !source.is_test()) {
        let len = source.production_len();
        if len > FILE_LINES_MAX {
            violations.push(format!("{}:{len}: {len} production lines, at most {FILE_LINES_MAX}", source.path));
        }
    }
    assert_none(&violations);
}

#[test]
fn no_function_has_more_than_70_lines() {
    let mut violations = Vec::new();
    for source in rust_sources().iter().filter(|source| !source.is_test()) {
        for (line, name, len) in functions(source).into_iter().filter(|(_, _, len)| *len > FUNCTION_LINES_MAX) {
            violations.push(format!("{}:{line}: fn {name} has {len} lines, at most {FUNCTION_LINES_MAX}", source.path));
        }
    }
    assert_none(&violations);
}

#[test]
fn cluster_sees_neither_the_store_nor_the_codecs() {
    let banned = [
        "crate::store",
        "crate::node",
        "memring_protocol::frame",
        "memring_protocol::codec",
        "memring_protocol::text",
        "memring_protocol::gossip",
    ];
    let gossips = |file: &str, path: &str| {
        in_room(file, "engine/src/cluster/membership") && path.starts_with("memring_protocol::gossip")
    };
    assert_none(&naming("engine/src/cluster", &banned, &gossips));
}

#[test]
fn the_store_sees_neither_the_cluster_nor_the_wire() {
    let banned = [
        "crate::cluster",
        "crate::node",
        "memring_protocol::frame",
        "memring_protocol::codec",
        "memring_protocol::text",
        "memring_protocol::message",
        "memring_protocol::gossip",
    ];
    assert_none(&naming("engine/src/store", &banned, &|_, _| false));
}

#[test]
fn only_the_outer_crates_may_use_what_is_not_deterministic() {
    let mut violations = Vec::new();
    for (file, banned) in [
        ("protocol/Cargo.toml", &["tokio", "rand", "memring-engine", "memring-server", "memring-client"][..]),
        ("engine/Cargo.toml", &["tokio", "memring-server", "memring-client", "bincode"]),
        ("client/Cargo.toml", &["memring-engine", "memring-server", "bincode"]),
        ("server/Cargo.toml", &["memring-client", "bincode"]),
        ("cli/Cargo.toml", &["bincode"]),
    ] {
        let text = fs::read_to_string(top().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        // What a crate's tests use is not what it depends on.
        let dependencies = text.lines().enumerate().take_while(|(_, line)| *line != "[dev-dependencies]");
        for (at, line) in dependencies {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if banned.contains(&name) {
                violations.push(format!("{file}:{}: must not depend on {name}", at + 1));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn bincode_has_one_door() {
    let mut violations = Vec::new();
    for source in rust_sources() {
        let is_door = source.path == "protocol/src/codec.rs" || source.path == "tests/tests/tidy.rs";
        for (number, line) in source.code_lines().filter(|(_, line)| !is_door && has_word(line, "bincode")) {
            violations.push(format!(
                "{}:{number}: bincode outside protocol/src/codec.rs: {}",
                source.path,
                line.trim()
            ));
        }
    }
    assert_none(&violations);
}

/// The calls that log at info or above: line, and what stands between their parentheses.
fn log_calls(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in source.text.match_indices("tracing::") {
        let rest = &source.text[at + "tracing::".len()..];
        let Some(inside) = ["error!(", "warn!(", "info!("].iter().find_map(|call| rest.strip_prefix(call)) else {
            continue;
        };
        let (mut depth, mut quoted, mut before) = (1, false, ' ');
        let end = inside.find(|letter| {
            match letter {
                '"' if before != '\\' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            before = letter;
            depth == 0
        });
        let line = source.text[..at].matches('\n').count() + 1;
        found.push((line, inside[..end.expect("every parenthesis is closed")].to_owned()));
    }
    found
}

/// What such a call tells: names outside of its texts, and those in the braces within them.
fn told_in(call: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let mut told = Vec::new();
    for (number, part) in call.replace("\\\"", "'").split('"').enumerate() {
        let code: Vec<&str> = if number % 2 == 0 {
            vec![part]
        } else {
            part.split('{').skip(1).filter_map(|inner| inner.split(['}', ':']).next()).collect()
        };
        told.extend(code.iter().flat_map(|code| code.split(|letter| !is_part(letter))).map(str::to_owned));
    }
    told
}

#[test]
fn no_log_line_above_debug_holds_what_clients_store() {
    const STORED: [&str; 14] = [
        "key", "keys", "value", "values", "item", "entry", "command", "request", "response", "reply", "effect",
        "packet", "frame", "message",
    ];
    let rooms = ["server/src/", "engine/src/", "protocol/src/", "client/src/", "cli/src/"];
    let (mut calls, mut violations) = (0, Vec::new());
    for source in rust_sources().iter().filter(|source| rooms.iter().any(|room| source.path.starts_with(room))) {
        for (line, call) in log_calls(source) {
            calls += 1;
            for name in told_in(&call) {
                // A length tells nothing.
                let is_length = name.ends_with("_len") || name.ends_with(".len");
                if name.split('.').any(|part| STORED.contains(&part)) && !is_length {
                    violations.push(format!("{}:{line}: logs `{name}`", source.path));
                }
            }
        }
    }
    assert!(calls > 40, "only {calls} calls were seen");
    assert_none(&violations);
}

#[test]
fn what_a_log_call_tells_is_found_in_texts_and_beside_them() {
    let source = Source {
        path: "x.rs".to_owned(),
        text: "tracing::warn!(%error, bytes = message.body_len(), \"a {thing} (of {key:?}) \\\" is\", other());\n\
               tracing::debug!(?key, \"not this\");"
            .to_owned(),
    };
    let calls = log_calls(&source);
    assert_eq!(calls.len(), 1);
    let told = told_in(&calls[0].1);
    for name in ["error", "bytes", "message.body_len", "thing", "key", "other"] {
        assert!(told.iter().any(|told| told == name), "{name}: {told:?}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["X", "XX"].concat()];
    let macros = [["to", "do!"].concat(), ["unimple", "mented!"].concat()];
    let mut violations = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            let marked = words.iter().any(|word| has_word(line, word));
            let empty = source.has_extension(&["rs"]) && macros.iter().any(|name| line.contains(name.as_str()));
            if marked || empty {
                violations.push(format!("{}:{number}: unfinished: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn a_module_is_named_for_what_is_inside() {
    let mut violations = Vec::new();
    for source in rust_sources() {
        let parts = source.path.trim_end_matches(".rs").split('/');
        if let Some(name) = parts.into_iter().find(|part| BANNED_MODULES.contains(part)) {
            violations.push(format!("{}:1: `{name}` names a room for anything", source.path));
        }
        for (number, line) in source.code_lines() {
            let declared = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = declared.strip_prefix("mod ").map(|rest| rest.trim_end_matches([';', '{', ' ']));
            if let Some(name) = name.filter(|name| BANNED_MODULES.contains(name)) {
                violations.push(format!("{}:{number}: `{name}` names a room for anything", source.path));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn no_line_has_tabs_or_trailing_spaces() {
    let mut violations = Vec::new();
    for source in sources() {
        let indents_with_tabs = source.path.ends_with("Makefile") || source.has_extension(&["go"]);
        for (number, line) in source.lines() {
            if line.ends_with([' ', '\t']) {
                violations.push(format!("{}:{number}: trailing space", source.path));
            }
            if line.contains('\t') && !indents_with_tabs {
                violations.push(format!("{}:{number}: tab", source.path));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn links_in_markdown_lead_to_files_that_exist() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.has_extension(&["md"])) {
        let folder = top().join(&source.path).parent().expect("a file lies in a folder").to_owned();
        let mut in_code = false;
        for (number, line) in source.lines() {
            in_code ^= line.trim_start().starts_with("```");
            for target in line.split("](").skip(1).filter(|_| !in_code) {
                let target = target.split([')', '#', ' ']).next().unwrap_or_default();
                let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !outside && !folder.join(target).exists() {
                    violations.push(format!("{}:{number}: {target} does not exist", source.path));
                }
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn use_trees_are_spelled_out_and_super_is_resolved() {
    let source = Source {
        path: "engine/src/cluster/read.rs".to_owned(),
        text:
            "use crate::{store::Store, node};\nuse super::super::store;\nuse memring_protocol::{\n    key::Key,\n    \
               text::{self, line},\n};\nlet x = memring_protocol::frame::decode(y);\n// crate::store\n"
                .to_owned(),
    };
    let paths: Vec<String> = named_paths(&source).into_iter().map(|(_, path)| path).collect();
    let expected = [
        "crate::store::Store",
        "crate::node",
        "crate::store",
        "memring_protocol::key::Key",
        "memring_protocol::text::self",
        "memring_protocol::text::line",
        "memring_protocol::frame::decode",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let text = "impl A {\n    pub(crate) async fn long(\n        a: u8,\n    ) {\n        a;\n    }\n    fn short() {}\n}\n\
                #[cfg(test)]\nmod tests {\n    fn none() {\n    }\n}\n";
    let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(functions(&source), [(2, "long".to_owned(), 5)]);
    assert_eq!(source.production_len(), 8);
}

/// The names in square brackets and in the last cell of each table row of the page on consistency.
#[test]
fn every_promise_names_a_test_and_every_test_it_names_exists() {
    const PAGE: &str = "docs/consistency.md";
    let tests: std::collections::BTreeSet<String> = rust_sources().iter().flat_map(test_names).collect();
    assert!(tests.contains("every_promise_names_a_test_and_every_test_it_names_exists"), "no test is found");
    let pages = sources();
    let page = pages.iter().find(|source| source.path == PAGE).expect("the page is there");
    let mut violations = Vec::new();
    for (line, promise) in promises(&page.text) {
        let named: Vec<&str> =
            promise.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() >= 3).collect();
        if named.is_empty() {
            violations.push(format!("{PAGE}:{line}: a promise that names no test"));
        }
        let unknown = named.into_iter().filter(|name| !tests.contains(*name));
        violations.extend(unknown.map(|name| format!("{PAGE}:{line}: there is no test {name}")));
    }
    assert_none(&violations);
}

/// The table rows and list items of a page, each with the number of its first line.
fn promises(page: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut in_item, mut in_code, mut rows) = (false, false, 0);
    for (at, line) in page.lines().enumerate() {
        in_code ^= line.starts_with("```");
        rows = if line.starts_with('|') { rows + 1 } else { 0 };
        // The first two rows of a table are its head.
        let begins = !in_code && (line.starts_with("- ") || rows > 2);
        in_item = begins || (in_item && line.starts_with("  "));
        match found.last_mut() {
            _ if begins => found.push((at + 1, line.to_owned())),
            Some((_, promise)) if in_item => promise.push_str(line),
            _ => {}
        }
    }
    found
}

/// The functions of a file that `#[test]` stands above.
fn test_names(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let is_test = |at: usize| {
        lines[..at].iter().rev().take_while(|line| line.trim().starts_with("#[")).any(|line| line.trim() == "#[test]")
    };
    let numbered = lines.iter().enumerate().filter(|(at, _)| is_test(*at));
    numbered.filter_map(|(_, line)| Some(line.trim().strip_prefix("fn ")?.split_once('(')?.0.to_owned())).collect()
}
