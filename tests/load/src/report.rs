//! Where results go: a summary for people, JSON for programs.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::options::Common;

/// A report that knows whether the run was a success.
pub(crate) trait Outcome: Serialize + fmt::Display {
    /// Whether the exit code is 0.
    fn success(&self) -> bool;
}

/// Prints the summary, writes the JSON, and gives the exit code.
#[expect(
    clippy::print_stdout,
    reason = "the summary is what the program is for"
)]
pub(crate) fn publish(common: &Common, report: &impl Outcome) -> anyhow::Result<ExitCode> {
    let json = serde_json::to_string_pretty(report)?;
    match &common.json {
        Some(path) if path.as_os_str() == "-" => println!("{json}"),
        Some(path) => {
            std::fs::write(path, json + "\n")
                .with_context(|| format!("writing {}", path.display()))?;
            println!("{report}");
        }
        None => println!("{report}"),
    }
    Ok(if report.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// A line for the person who waits.
#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
pub(crate) fn progress(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}

/// Why the run could not be made.
pub(crate) fn complain(error: &anyhow::Error) {
    progress(format_args!("entente-load: {error:#}"));
}

/// Milliseconds with fractions.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Rounded to three decimals.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
