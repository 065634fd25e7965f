//! CPU time and memory of server processes, their descendants included, from `/proc`.

use std::collections::{BTreeSet, HashMap};
use std::fs;

/// Clock ticks a second in `/proc/*/stat`: 100 for user space on every Linux architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes to watch: given by id or by name.
#[derive(Debug, Clone, Default)]
pub struct ProcessSet {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Names as in `/proc/PID/comm` (15 characters at most).
    pub names: Vec<String>,
}

/// What the watched processes use at one moment.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Usage {
    /// How many processes were found.
    pub processes: usize,
    /// CPU seconds, user and system, reaped children included.
    pub cpu_seconds: f64,
    /// Resident set size, KiB.
    pub rss_kib: u64,
    /// Proportional set size, KiB (0 where it may not be read).
    pub pss_kib: u64,
}

struct Stat {
    parent: u32,
    name: String,
    ticks: u64,
}

impl ProcessSet {
    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.names.is_empty()
    }

    /// Reads CPU time and memory now. Processes that are gone count nothing.
    pub fn usage(&self) -> Usage {
        self.read(true)
    }

    /// CPU seconds only: cheap enough to be taken at the edges of a measurement.
    pub fn cpu_seconds(&self) -> f64 {
        self.read(false).cpu_seconds
    }

    fn read(&self, memory: bool) -> Usage {
        if self.is_empty() {
            return Usage::default();
        }
        let all = stats();
        let mut usage = Usage::default();
        for pid in self.members(&all) {
            usage.processes += 1;
            usage.cpu_seconds += all[&pid].ticks as f64 / TICKS_PER_SECOND;
            if memory {
                usage.rss_kib += kib_field(&format!("/proc/{pid}/status"), "VmRSS:");
                usage.pss_kib += kib_field(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
            }
        }
        usage
    }

    fn members(&self, all: &HashMap<u32, Stat>) -> BTreeSet<u32> {
        let mut members: BTreeSet<u32> = all
            .iter()
            .filter(|(pid, stat)| self.pids.contains(pid) || self.names.contains(&stat.name))
            .map(|(pid, _)| *pid)
            .collect();
        loop {
            let before = members.len();
            let children: Vec<u32> = all
                .iter()
                .filter(|(_, stat)| members.contains(&stat.parent))
                .map(|(pid, _)| *pid)
                .collect();
            members.extend(children);
            if members.len() == before {
                return members;
            }
        }
    }
}

fn stats() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse_stat(&text)?))
        })
        .collect()
}

/// proc_pid_stat(5): `pid (comm) state ppid …`, where comm may contain blanks and brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let name = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    // Numbered from 1 in the manual: ppid is 4, utime, stime, cutime, cstime are 14 to 17; the
    // fields after the name begin with number 3.
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields
        .get(11..15)?
        .iter()
        .map(|f| f.parse().unwrap_or(0u64))
        .sum();
    Some(Stat {
        parent,
        name,
        ticks,
    })
}

fn kib_field(path: &str, field: &str) -> u64 {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets() {
        let stat =
            parse_stat("42 (a) (b c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 9 10 11")
                .unwrap();
        assert_eq!(
            (stat.parent, stat.name.as_str(), stat.ticks),
            (7, "a) (b c)", 127)
        );
        assert!(parse_stat("garbage").is_none());
    }

    #[test]
    fn this_process_and_its_child_are_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .unwrap();
        let set = ProcessSet {
            pids: vec![std::process::id()],
            names: Vec::new(),
        };
        let usage = set.usage();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(usage.processes >= 2, "{usage:?}");
        assert!(usage.rss_kib > 0);
    }
}
