//! What a node must remember between its lives: its generation, and how its last lives ended.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::filter::Filter;

/// The file in the data directory: the generation, then a line `crash <unix seconds>` for each
/// recent life that ended without a leave, then `open` while a life goes on.
const FILE: &str = "generation";
/// Bound on what is read of the file.
const MAX_BYTES: u64 = 4096;

/// The beginning of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// Greater than that of every earlier life.
    pub(super) generation: u64,
    /// How long ago lives began after one that had ended without a leave, within the window; the
    /// latest first. The others count the same and hold the node down; it holds itself back as long,
    /// so that all have one view.
    pub(super) crashes: Vec<Duration>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    generation: u64,
    crashes: Vec<u64>,
    open: bool,
}

/// Begins a life, on disk before it returns.
///
/// The generation is one more than the last one, and not less than the seconds since 1970, so that
/// it grows even if either the clock was set back or the file was lost. Peers ignore a node that
/// comes back with an old generation for as long as they remember the newer one.
///
/// # Errors
/// The directory cannot be made, or the file cannot be read or written. A file that cannot be
/// understood counts as lost.
pub(super) fn start(data_dir: &Path, unix_seconds: u64, window: Duration) -> io::Result<Start> {
    fs::create_dir_all(data_dir)?;
    let mut record = read(data_dir)?;
    record.begin(unix_seconds, window);
    record.write(data_dir)?;
    Ok(Start {
        generation: record.generation,
        crashes: record.ages(unix_seconds),
    })
}

/// Ends a life that was announced to be over: it will not count as a crash.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn end(data_dir: &Path) -> io::Result<()> {
    let mut record = read(data_dir)?;
    record.open = false;
    record.write(data_dir)
}

fn read(data_dir: &Path) -> io::Result<Record> {
    let file = match File::open(data_dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut bytes)?;
    Ok(Record::parse(&String::from_utf8_lossy(&bytes)))
}

impl Record {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let Some(generation) = lines.next().and_then(|line| line.trim().parse().ok()) else {
            tracing::warn!("the generation file holds no number; the clock decides");
            return Self::default();
        };
        let mut record = Self {
            generation,
            ..Self::default()
        };
        for line in lines.take(Filter::MAX_FAILURES + 1) {
            if let Some(time) = line.strip_prefix("crash ").and_then(|t| t.parse().ok()) {
                record.crashes.push(time);
            } else if line == "open" {
                record.open = true;
            }
        }
        record
    }

    fn begin(&mut self, unix_seconds: u64, window: Duration) {
        self.generation = self.generation.saturating_add(1).max(unix_seconds);
        if self.open {
            self.crashes.push(unix_seconds);
        }
        // Times in the future were written by a clock that has been set back since: forget them.
        let oldest = unix_seconds.saturating_sub(window.as_secs());
        self.crashes
            .retain(|time| (oldest..=unix_seconds).contains(time));
        let excess = self.crashes.len().saturating_sub(Filter::MAX_FAILURES);
        self.crashes.drain(..excess);
        self.open = true;
    }

    /// How long ago the crashes were, the latest first.
    fn ages(&self, unix_seconds: u64) -> Vec<Duration> {
        let crashes = self.crashes.iter().rev();
        crashes
            .map(|time| Duration::from_secs(unix_seconds.saturating_sub(*time)))
            .collect()
    }

    /// Writes a whole new file, so that a crash in the middle leaves the old one.
    fn write(&self, data_dir: &Path) -> io::Result<()> {
        let mut text = format!("{}\n", self.generation);
        for time in &self.crashes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "crash {time}");
        }
        if self.open {
            text.push_str("open\n");
        }
        let draft = data_dir.join("generation.new");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, data_dir.join(FILE))?;
        // The rename itself is durable only with the directory.
        File::open(data_dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn fresh_dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("entente-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    fn begin(dir: &Path, unix_seconds: u64) -> (u64, usize) {
        let start = start(dir, unix_seconds, WINDOW).unwrap();
        (start.generation, start.crashes.len())
    }

    #[test]
    fn it_grows_with_every_start_also_when_the_clock_goes_back() {
        let dir = fresh_dir("generation-grows");
        assert_eq!(begin(&dir, 1_000).0, 1_000);
        assert_eq!(begin(&dir, 1_000).0, 1_001);
        assert_eq!(begin(&dir, 10).0, 1_002);
        assert_eq!(begin(&dir, 5_000).0, 5_000);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn lives_that_end_without_a_leave_are_counted_for_a_while() {
        let dir = fresh_dir("generation-crashes");
        assert_eq!(begin(&dir, 1_000).1, 0);
        assert_eq!(begin(&dir, 1_010).1, 1);
        let crashes = start(&dir, 1_020, WINDOW).unwrap().crashes;
        assert_eq!(crashes, [Duration::ZERO, Duration::from_secs(10)]);
        end(&dir).unwrap();
        assert_eq!(begin(&dir, 1_030).1, 2, "a leave is no crash");
        assert_eq!(begin(&dir, 1_315).1, 2, "the oldest is forgotten");
        end(&dir).unwrap();
        assert_eq!(begin(&dir, 9_000).1, 0);
        assert_eq!(begin(&dir, 8_000).1, 1, "the clock went back");
        assert_eq!(begin(&dir, 7_000).1, 1);
        for _ in 0..50 {
            begin(&dir, 7_001);
        }
        assert_eq!(begin(&dir, 7_001).1, Filter::MAX_FAILURES);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_spoilt_file_counts_as_lost() {
        let dir = fresh_dir("generation-spoilt");
        fs::create_dir_all(&dir).unwrap();
        for spoilt in [
            &b"abc"[..],
            b"",
            b"-5",
            b"99999999999999999999999",
            b"\xff\xfe",
        ] {
            fs::write(dir.join(FILE), spoilt).unwrap();
            assert_eq!(begin(&dir, 7), (7, 0), "{spoilt:?}");
        }
        fs::write(dir.join(FILE), "40\ncrash x\nwhat\n").unwrap();
        assert_eq!(begin(&dir, 7), (41, 0));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        assert!(start(Path::new("/dev/null/entente"), 1, WINDOW).is_err());
    }
}
