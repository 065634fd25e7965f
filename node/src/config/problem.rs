//! What is wrong with a configuration, told so that the operator can mend it: file, key, cure.

use std::fmt;
use std::path::{Path, PathBuf};

/// One fault in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Dotted path of the key, empty when the file as a whole is meant.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) cure: Option<String>,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            cure: None,
        }
    }

    #[must_use]
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// All faults of one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    pub(crate) file: PathBuf,
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn of(file: &Path, problem: Problem) -> Self {
        Self::all(file, vec![problem])
    }

    pub(crate) fn all(file: &Path, problems: Vec<Problem>) -> Self {
        Self {
            file: file.to_path_buf(),
            problems,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{}: ", self.file.display())?;
            if !problem.key.is_empty() {
                write!(out, "{}: ", problem.key)?;
            }
            write!(out, "{}", problem.what)?;
            if let Some(cure) = &problem.cure {
                write!(out, "\n  cure: {cure}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A syntax error of the TOML text, with its line.
pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Problem {
    let place = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        format!("line {line}: ")
    });
    Problem::new("", format!("{place}{}", error.message().trim())).cure(
        "write it as TOML: `key = \"text\"`, `key = 5`, `key = [\"a\", \"b\"]`, tables as `[name]`",
    )
}

/// The nearest of `known` to `word`, when it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
