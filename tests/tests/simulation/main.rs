//! Seeded simulation of a cluster: see `entente_tests::sim`.
//!
//! `SIM_SEED=7` runs that one seed; `SIM_SEEDS=5000` runs as many, from `SIM_FIRST` (0) on. `SIM_TRACE`
//! in the environment makes the trace of a failure longer; `SIM_STOP_AT_DUPLICATES` makes every
//! second copy of a message a failure.

#![allow(clippy::print_stderr, reason = "a test reports what it saw")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use entente_tests::sim::{Totals, kind, run};

const SEEDS: u64 = 216;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn invariants_hold_for_every_seed() {
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SIM_FIRST").unwrap_or(0),
            number("SIM_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let next = AtomicU64::new(first);
    let results = Mutex::new((BTreeMap::<_, Totals>::new(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let result = run(seed);
                    let mut results = results.lock().expect("no panics while it is held");
                    match result {
                        Ok(totals) => results.0.entry(kind(seed)).or_default().add(totals),
                        Err(failure) => results.1.push(failure),
                    }
                }
            });
        }
    });
    let (kinds, mut failures) = results.into_inner().expect("all threads have ended");
    let mut totals = Totals::default();
    for (kind, of_kind) in kinds {
        eprintln!("{kind}: {of_kind}");
        totals.add(of_kind);
    }
    eprintln!("all: {totals}");
    // What only the nodes that died together knew is delivered again: seldom.
    assert!(
        count < SEEDS || totals.client_duplicates * 400 <= totals.delivered,
        "clients' repeats are delivered twice more often than 1 in 400: {totals:?}"
    );
    failures.sort_by_key(|failure| failure.seed);
    for failure in &failures {
        eprintln!("seed {}: {}", failure.seed, failure.what);
    }
    if let Some(failure) = failures.first() {
        panic!(
            "{failure}\n{} of {count} seeds fail; repeat with SIM_SEED={}",
            failures.len(),
            failure.seed
        );
    }
}
