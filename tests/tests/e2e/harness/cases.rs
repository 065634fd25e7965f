//! Many cases over one set of processes: run side by side, reported together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many cases run at the same time.
const AT_ONCE: usize = 6;
/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// Collects what fails.
#[derive(Default)]
pub struct Cases {
    ran: usize,
    failed: Vec<String>,
}

impl Cases {
    /// Runs these side by side and waits for all.
    pub async fn together(&mut self, cases: Vec<(&'static str, Work)>) {
        let only = std::env::var("E2E_ONLY").unwrap_or_default();
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = Vec::new();
        for (name, work) in cases.into_iter().filter(|(name, _)| name.contains(&only)) {
            let room = Arc::clone(&room);
            let task = tokio::spawn(async move {
                let _place = room.acquire().await;
                let begin = Instant::now();
                let done = tokio::time::timeout(LIMIT, tokio::spawn(work)).await;
                (done, begin.elapsed())
            });
            running.push((name, task));
        }
        for (name, task) in running {
            self.ran += 1;
            let (done, took) = task.await.unwrap();
            let error = match done {
                Ok(Ok(())) => {
                    eprintln!("ok   {name} ({took:.1?})");
                    continue;
                }
                Ok(Err(failure)) => message(failure),
                Err(_) => format!("hangs: not done in {LIMIT:?}"),
            };
            eprintln!("FAIL {name} ({took:.1?}): {error}");
            self.failed.push(format!("{name}: {error}"));
        }
    }

    /// Runs these one after the other.
    pub async fn in_order(&mut self, cases: Vec<(&'static str, Work)>) {
        for case in cases {
            self.together(vec![case]).await;
        }
    }

    /// Adds the outcome of a check that is no case.
    pub fn check(&mut self, faults: Vec<String>) {
        self.failed.extend(faults);
    }

    /// Panics if anything failed; `evidence` is printed then.
    pub fn finish(self, evidence: impl FnOnce() -> String) {
        if self.failed.is_empty() {
            return;
        }
        eprintln!("{}", evidence());
        panic!(
            "{} of {} cases failed:\n{}",
            self.failed.len(),
            self.ran,
            self.failed.join("\n")
        );
    }
}

fn message(failure: tokio::task::JoinError) -> String {
    let Ok(panic) = failure.try_into_panic() else {
        return "cancelled".to_owned();
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other
            .downcast_ref::<&str>()
            .map_or_else(|| "panicked".to_owned(), |text| (*text).to_owned()),
    }
}

/// A case with its name: `case!(fixture, module::function)`.
macro_rules! case {
    ($fixture:expr, $($function:tt)+) => {
        (stringify!($($function)+), Box::pin($($function)+(std::sync::Arc::clone(&$fixture))))
    };
}
pub(crate) use case;
