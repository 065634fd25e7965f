//! The last things that happened, for the report of a failure.

use std::collections::VecDeque;
use std::time::Duration;

const LINES: usize = 40_000;

/// A ring of lines.
#[derive(Default)]
pub(crate) struct Trace {
    lines: VecDeque<(Duration, String)>,
}

impl Trace {
    pub(crate) fn add(&mut self, at: Duration, line: String) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((at, line));
    }

    /// The lines with their times in seconds.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|(at, line)| format!("{:9.4} {line}", at.as_secs_f64()))
            .collect()
    }
}
