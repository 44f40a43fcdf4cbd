//! What values mean together.
//!
//! Must not know where values come from beyond how an error names them.

use memring_protocol::level::Level;

use super::layers::Givens;
use super::{Config, ConfigError};

pub(super) fn check(config: &Config, givens: &Givens) -> Result<(), ConfigError> {
    check_item_size(config, givens)?;
    check_ports(config, givens)?;
    check_levels(config, givens)
}

fn check_item_size(config: &Config, givens: &Givens) -> Result<(), ConfigError> {
    if config.item_bytes_max <= config.memory_limit_bytes / 2 {
        return Ok(());
    }
    let limit = shown(givens, "memory-limit", config.memory_limit_bytes / (1024 * 1024), "m");
    let item = shown(givens, "max-item-size", config.item_bytes_max, "");
    Err(ConfigError(format!("{item}: more than half of {limit}")))
}

fn check_ports(config: &Config, givens: &Givens) -> Result<(), ConfigError> {
    let port = if config.tcp_for_clients { config.port } else { 0 };
    let ports = [("port", port), ("peer-port", config.peer_port), ("admin-port", config.admin_port)];
    for (index, &(name, port)) in ports.iter().enumerate() {
        for &(earlier_name, earlier) in &ports[..index] {
            if port != 0 && port == earlier {
                let (this, that) = (shown(givens, name, port, ""), shown(givens, earlier_name, earlier, ""));
                // Blame the one that was given: the other may be a default that nobody has heard of.
                let (blamed, other) = if givens.contains_key(name) { (this, that) } else { (that, this) };
                return Err(ConfigError(format!("{blamed}: the same as {other}")));
            }
        }
    }
    Ok(())
}

fn check_levels(config: &Config, givens: &Givens) -> Result<(), ConfigError> {
    let replicas = || shown(givens, "replicas", config.replicas, "");
    let too_many = |level: Option<Level>| match level {
        Some(Level::Count(count)) => count.get() > config.replicas,
        _ => false,
    };
    for (name, level) in [("read", config.read), ("write", config.write)] {
        if let Some(level) = level.filter(|&level| too_many(Some(level))) {
            return Err(ConfigError(format!("{}: more than {}", shown(givens, name, level, ""), replicas())));
        }
    }
    for namespace in &config.namespaces {
        for (name, level) in [("read", namespace.read), ("write", namespace.write)] {
            if let Some(level) = level.filter(|&level| too_many(Some(level))) {
                let prefix = namespace.prefix.escape_ascii();
                return Err(ConfigError(format!("namespace \"{prefix}\": {name} = {level}: more than {}", replicas())));
            }
        }
    }
    Ok(())
}

/// How an option is named in an error: as it was given, or as a flag with its default.
fn shown(givens: &Givens, name: &str, value: impl std::fmt::Display, unit: &str) -> String {
    match givens.get(name) {
        Some(given) => given.to_string(),
        None => format!("--{name} {value}{unit}"),
    }
}
