//! The environment: what differs between nodes. `ENTENTE_<SECTION>_<KEY>` sets `section.key` for
//! every scalar or list key in [`super::keys`]; lists are separated by commas. An unknown name with
//! our prefix is refused, as an unknown key is.

use super::keys::{self, Kind};
use super::problem::{Problem, nearest};

/// Names that have our prefix and are no configuration key.
const RESERVED: &[&str] = &["ENTENTE_CONFIG", "ENTENTE_ADMIN"];

/// Read access to the environment, so that tests bring their own.
pub(crate) trait Environment {
    /// All variables that start with `ENTENTE_`.
    fn ours(&self) -> Vec<(String, String)>;
}

/// The process environment.
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn ours(&self) -> Vec<(String, String)> {
        let mut ours: Vec<_> = std::env::vars()
            .filter(|(name, _)| name.starts_with("ENTENTE_"))
            .collect();
        ours.sort();
        ours
    }
}

impl Environment for Vec<(String, String)> {
    fn ours(&self) -> Vec<(String, String)> {
        self.clone()
    }
}

/// The variable that overrides `path` (`node.id` → `ENTENTE_NODE_ID`).
pub(crate) fn variable(path: &str) -> String {
    format!("ENTENTE_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// Puts the environment's values over the file's.
pub(super) fn overlay(table: &mut toml::Table, environment: &dyn Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in environment.ours() {
        if RESERVED.contains(&name.as_str()) {
            continue;
        }
        let Some(key) = keys::KEYS
            .iter()
            .find(|key| !key.path.contains('*') && variable(key.path) == name)
        else {
            let names: Vec<String> = keys::KEYS
                .iter()
                .filter(|key| !key.path.contains('*'))
                .map(|key| variable(key.path))
                .collect();
            let mut problem = Problem::new(name.clone(), "is no variable that Entente knows");
            if let Some(near) = nearest(&name, names.iter().map(String::as_str)) {
                problem = problem.cure(format!("did you mean {near}? unset {name} otherwise"));
            } else {
                problem = problem.cure(format!(
                    "unset {name}; `entente config reference` lists all names"
                ));
            }
            problems.push(problem);
            continue;
        };
        match key.kind.parse(&value) {
            Ok(parsed) => set(table, key.path, parsed),
            Err(expected) => problems.push(
                Problem::new(name, format!("`{value}` is not {expected}"))
                    .cure(format!("it sets `{}`", key.path)),
            ),
        }
    }
    problems
}

fn set(table: &mut toml::Table, path: &str, value: toml::Value) {
    let (section, key) = path.split_once('.').unwrap_or(("", path));
    let inner = table
        .entry(section.to_owned())
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let toml::Value::Table(inner) = inner {
        inner.insert(key.to_owned(), value);
    }
}

impl Kind {
    /// Reads an environment value as this kind; the error says what was expected.
    fn parse(self, text: &str) -> Result<toml::Value, &'static str> {
        match self {
            Self::Text => Ok(toml::Value::String(text.to_owned())),
            Self::Integer => text
                .trim()
                .parse()
                .map(toml::Value::Integer)
                .map_err(|_| "a whole number"),
            Self::Switch => text
                .trim()
                .parse()
                .map(toml::Value::Boolean)
                .map_err(|_| "true or false"),
            Self::List => Ok(toml::Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| toml::Value::String(item.to_owned()))
                    .collect(),
            )),
        }
    }
}
