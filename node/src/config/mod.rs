//! Configuration: one TOML file that works unchanged on every node, and the environment for what
//! differs between nodes.
//!
//! The raw tables are in [`raw`]; [`keys`] is the one list of keys (documentation, environment
//! names); [`check`] turns raw tables into the checked [`Config`] that the rest of the program
//! sees. Nothing behind this module validates again.

pub(crate) mod check;
pub(crate) mod dev;
pub(crate) mod env;
pub(crate) mod keys;
#[cfg(test)]
mod mutations;
pub(crate) mod problem;
pub(crate) mod raw;
pub(crate) mod sip;
pub(crate) mod types;

use std::path::{Path, PathBuf};

pub(crate) use problem::{ConfigError, Problem};
pub(crate) use sip::*;
pub(crate) use types::*;

use raw::RawConfig;

/// Where `entente` looks when no `--config` is given and `ENTENTE_CONFIG` is unset.
pub(crate) const DEFAULT_PATH: &str = "/etc/entente/entente.toml";

/// Reads, merges with the environment and checks the configuration in `path`.
///
/// # Errors
/// [`ConfigError`] lists every problem found, each with file, key and cure.
pub(crate) fn load(path: &Path, environment: &dyn env::Environment) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::of(
            path,
            Problem::new("", format!("cannot be read: {error}")).cure(
                "name an existing file with --config or ENTENTE_CONFIG; `entente config example` prints one to start from",
            ),
        )
    })?;
    from_text(&text, path, environment)
}

/// The same for a text that is already in memory; relative paths in it count from `path`'s folder.
pub(crate) fn from_text(
    text: &str,
    path: &Path,
    environment: &dyn env::Environment,
) -> Result<Config, ConfigError> {
    let mut table: toml::Table = toml::from_str(text)
        .map_err(|error| ConfigError::of(path, problem::from_toml(text, &error)))?;
    let mut problems = env::overlay(&mut table, environment);
    problems.extend(keys::unknown(&table));
    if !problems.is_empty() {
        return Err(ConfigError::all(path, problems));
    }
    let raw: RawConfig =
        RawConfig::deserialize_from(table).map_err(|problem| ConfigError::of(path, problem))?;
    let base = path
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    check::check(raw, &base).map_err(|problems| ConfigError::all(path, problems))
}
