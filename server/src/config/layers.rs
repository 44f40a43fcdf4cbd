//! Where values come from: flag, environment, file, default, in this order.
//!
//! Must not know what the options are: it walks the table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use memring_engine::node::Namespace;
use memring_protocol::key::KEY_BYTES_MAX;
use memring_protocol::level::Level;

use super::options::{CHOICES, Choice, Takes};
use super::{Config, ConfigError, check};

/// The largest config file: far above any real one, far below what would hurt.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const CONFIG: &str = "config";

/// Adds the options to a command.
pub fn command(command: Command) -> Command {
    let options = CHOICES.iter().map(argument);
    command.args(options).arg(
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE.toml")
            .help("File with options: the flags' names without dashes"),
    )
}

fn argument(choice: &Choice) -> Arg {
    let mut argument = Arg::new(choice.name).long(choice.name).hide(choice.help.is_empty());
    if let Some(short) = choice.short {
        argument = argument.short(short);
    }
    let help = match choice.default {
        "" => choice.help.to_owned(),
        default => format!("{} [{default}]", choice.help),
    };
    argument = argument.help(help);
    match choice.takes {
        Takes::Value(name) => argument.value_name(name).allow_hyphen_values(true),
        Takes::Values(name) => argument.value_name(name).allow_hyphen_values(true).action(ArgAction::Append),
        Takes::Nothing => argument.action(ArgAction::SetTrue),
        Takes::Count => argument.action(ArgAction::Count),
    }
}

/// The config that arguments, this process's environment and the file say.
pub fn from_arguments(matches: &ArgMatches) -> Result<Config, ConfigError> {
    given_by(matches).map(|(config, _)| config)
}

/// The same, with what was given where.
pub(super) fn given_by(matches: &ArgMatches) -> Result<(Config, Givens), ConfigError> {
    let flags = |choice: &Choice| {
        let text = flag_text(choice, matches)?;
        Some(Given { source: Source::Flag, name: choice.name, text })
    };
    let file = File::open(matches.get_one::<String>(CONFIG).cloned())?;
    merge(&flags, &process_environment, file.as_ref(), &[])
}

/// A variable of this process.
pub(super) fn process_environment(variable: &str) -> Option<String> {
    std::env::var_os(variable).map(|value| value.to_string_lossy().into_owned())
}

/// The flags that were given, as `--name` and value: to hand them on to another `memring serve`.
pub fn given_flags(matches: &ArgMatches) -> Vec<(&'static str, Vec<String>)> {
    let given = CHOICES.iter().filter_map(|choice| {
        let text = flag_text(choice, matches)?;
        let flag = format!("--{}", choice.name);
        Some((
            choice.name,
            match choice.takes {
                Takes::Value(_) | Takes::Values(_) => vec![flag, text],
                Takes::Nothing => vec![flag],
                Takes::Count => vec![flag; text.parse().unwrap_or(1)],
            },
        ))
    });
    given.collect()
}

/// The `--config` flag's value, if it was given.
pub fn config_file_argument(matches: &ArgMatches) -> Option<&str> {
    matches.get_one::<String>(CONFIG).map(String::as_str)
}

fn flag_text(choice: &Choice, matches: &ArgMatches) -> Option<String> {
    if matches.value_source(choice.name) != Some(ValueSource::CommandLine) {
        return None;
    }
    match choice.takes {
        Takes::Value(_) => matches.get_one::<String>(choice.name).cloned(),
        Takes::Values(_) => {
            let values: Vec<&str> = matches.get_many::<String>(choice.name)?.map(String::as_str).collect();
            Some(values.join(","))
        }
        Takes::Nothing => Some("true".to_owned()),
        Takes::Count => Some(matches.get_count(choice.name).to_string()),
    }
}

/// A config file as read.
pub(super) struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// The one that a flag, or else the environment, names.
    pub(super) fn open(path: Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(path) = path.or_else(|| process_environment("MEMRING_CONFIG")) else { return Ok(None) };
        let text = read_file(&path)?;
        Ok(Some(Self { path, text }))
    }
}

fn read_file(path: &str) -> Result<String, ConfigError> {
    let unreadable = |why: String| ConfigError(format!("--config {path}: {why}"));
    let size = std::fs::metadata(Path::new(path)).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("{size} bytes are more than {FILE_BYTES_MAX}")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Where a value came from, with the value: how an error names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub source: Source,
    pub name: &'static str,
    pub text: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Flag,
    /// An argument of memcached's, as it was written.
    Memcached(String),
    Environment,
    File(String),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Flag => write!(f, "--{} {}", self.name, self.text),
            Source::Memcached(written) => f.write_str(written),
            Source::Environment => write!(f, "{}={}", variable(self.name), self.text),
            Source::File(path) => write!(f, "{path}: {} = {}", self.name, self.text),
        }
    }
}

/// What was given, by option.
pub(super) type Givens = BTreeMap<&'static str, Given>;

/// The first source that gives a value wins; `defaults`, as option and value, take the place of the table's own.
pub(super) fn merge(
    flags: &dyn Fn(&Choice) -> Option<Given>,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&File>,
    defaults: &[(&str, &str)],
) -> Result<(Config, Givens), ConfigError> {
    let mut config = Config::default();
    let mut table = match file {
        Some(file) => parse_file(file)?,
        None => toml::Table::new(),
    };
    if let (Some(file), Some(namespaces)) = (file, table.remove("namespace")) {
        config.namespaces = parse_namespaces(namespaces).map_err(|why| ConfigError(format!("{}: {why}", file.path)))?;
    }
    let mut givens = Givens::new();
    for choice in CHOICES {
        let in_file = table.remove(choice.name);
        let Some(given) = given(choice, flags, environment, file, in_file)? else {
            if let Some((name, value)) = defaults.iter().find(|(name, _)| *name == choice.name) {
                (choice.set)(&mut config, value).map_err(|why| ConfigError(format!("--{name} {value}: {why}")))?;
            }
            continue;
        };
        (choice.set)(&mut config, &given.text).map_err(|why| ConfigError(format!("{given}: {why}")))?;
        givens.insert(choice.name, given);
    }
    if let (Some(file), Some(unknown)) = (file, table.keys().next()) {
        return Err(ConfigError(format!("{}: unknown key {unknown}", file.path)));
    }
    // As in memcached a Unix socket takes the place of the ports, unless they are asked for too.
    let tcp_is_wanted = config.port != 0 && (givens.contains_key("port") || givens.contains_key("listen"));
    config.tcp_for_clients = config.socket.is_none() || tcp_is_wanted;
    check::check(&config, &givens)?;
    Ok((config, givens))
}

fn given(
    choice: &Choice,
    flags: &dyn Fn(&Choice) -> Option<Given>,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&File>,
    in_file: Option<toml::Value>,
) -> Result<Option<Given>, ConfigError> {
    let name = choice.name;
    if let Some(given) = flags(choice) {
        return Ok(Some(given));
    }
    if let Some(text) = environment(&variable(name)).filter(|text| !is_service_link(text)) {
        return Ok(Some(Given { source: Source::Environment, name, text }));
    }
    let (Some(file), Some(value)) = (file, in_file) else { return Ok(None) };
    let text =
        text_of(&value).ok_or_else(|| ConfigError(format!("{}: {name} = {value}: expected one value", file.path)))?;
    Ok(Some(Given { source: Source::File(file.path.clone()), name, text }))
}

fn variable(name: &str) -> String {
    format!("MEMRING_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// For a service called memring, Kubernetes sets MEMRING_PORT=tcp://… in every container: not meant for us.
pub(super) fn is_service_link(text: &str) -> bool {
    text.starts_with("tcp://") || text.starts_with("udp://")
}

pub(super) fn parse_file(file: &File) -> Result<toml::Table, ConfigError> {
    file.text.parse::<toml::Table>().map_err(|error| {
        let before = error.span().map_or(0, |span| span.start).min(file.text.len());
        let line = file.text.as_bytes()[..before].iter().filter(|&&byte| byte == b'\n').count() + 1;
        ConfigError(format!("{}: line {line}: {}", file.path, error.message().replace('\n', " ")))
    })
}

/// A value of the file as its flag would be written; a list as its items with commas.
pub(super) fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => items.iter().map(text_of).collect::<Option<Vec<_>>>().map(|texts| texts.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// The most namespaces: each request's key is compared with them.
const NAMESPACES_MAX: usize = 256;

fn parse_namespaces(value: toml::Value) -> Result<Vec<Namespace>, String> {
    let toml::Value::Array(tables) = value else { return Err("write namespaces as [[namespace]]".to_owned()) };
    if tables.len() > NAMESPACES_MAX {
        return Err(format!("{} namespaces are more than {NAMESPACES_MAX}", tables.len()));
    }
    tables.into_iter().map(parse_namespace).collect()
}

fn parse_namespace(value: toml::Value) -> Result<Namespace, String> {
    let toml::Value::Table(mut table) = value else { return Err("write namespaces as [[namespace]]".to_owned()) };
    let mut take = |name: &str| match table.remove(name) {
        None => Ok(None),
        Some(value) => {
            text_of(&value).map(Some).ok_or_else(|| format!("namespace: {name} = {value}: expected one value"))
        }
    };
    let prefix = take("prefix")?.ok_or("namespace: a prefix is needed")?;
    let (read, write) = (take("read")?, take("write")?);
    if prefix.is_empty() || prefix.len() > KEY_BYTES_MAX || prefix.contains(' ') {
        return Err(format!("namespace: prefix = {prefix:?}: expected the beginning of a key"));
    }
    let level = |name: &str, text: Option<String>| -> Result<Option<Level>, String> {
        let Some(text) = text else { return Ok(None) };
        text.parse().map(Some).map_err(|error| format!("namespace {prefix:?}: {name} = {text}: {error}"))
    };
    let namespace =
        Namespace { prefix: prefix.clone().into_bytes(), read: level("read", read)?, write: level("write", write)? };
    match table.keys().next() {
        Some(unknown) => Err(format!("namespace {prefix:?}: unknown key {unknown}")),
        None => Ok(namespace),
    }
}

#[cfg(test)]
mod tests;
