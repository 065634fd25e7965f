//! CPU time per login: connection, TLS, SASL, binding, and the close.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use entente_load::Client;
use entente_load::histogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::options::{Common, LoginArgs};
use crate::report::{Outcome, millis, rounded};

/// What a run of logins gave.
#[derive(Debug, Serialize)]
pub(crate) struct LoginReport {
    logins: u64,
    seconds: f64,
    logins_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Server CPU for each login; absent if no process is watched.
    cpu_ms_per_login: Option<f64>,
}

impl Outcome for LoginReport {
    fn success(&self) -> bool {
        self.logins > 0
    }
}

impl fmt::Display for LoginReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} logins, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms",
            self.logins, self.logins_per_second, self.p50_ms, self.p99_ms
        )?;
        match self.cpu_ms_per_login {
            Some(cpu) => write!(f, ", {cpu:.2} CPU ms per login"),
            None => Ok(()),
        }
    }
}

pub(crate) async fn run(common: &Common, args: &LoginArgs) -> anyhow::Result<LoginReport> {
    let fleet = Arc::new(Fleet::new(&args.server.domain, &args.server.addr, common));
    // Each account once beforehand: PBKDF2 of this generator and first-use work of the server are
    // not what is measured.
    for number in 1..=args.users {
        one(&fleet, number).await?;
    }
    let processes = common.processes();
    let before = processes.cpu_seconds();
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(args.seconds);
    let next = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..common.login_concurrency.clamp(1, 1000) {
        let (fleet, next) = (fleet.clone(), next.clone());
        let (logins, users) = (args.logins, args.users);
        tasks.spawn(async move {
            let mut latency = Histogram::default();
            while Instant::now() < end {
                let number = next.fetch_add(1, Relaxed);
                if number >= logins {
                    break;
                }
                latency.record(one(&fleet, number % users + 1).await?);
            }
            anyhow::Ok(latency)
        });
    }
    let mut latency = Histogram::default();
    while let Some(done) = tasks.join_next().await {
        latency.merge(&done??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = processes.cpu_seconds() - before;
    let logins = latency.count();
    Ok(LoginReport {
        logins,
        seconds: rounded(seconds),
        logins_per_second: rounded(logins as f64 / seconds),
        p50_ms: millis(latency.quantile(0.5)),
        p99_ms: millis(latency.quantile(0.99)),
        cpu_ms_per_login: (!processes.is_empty())
            .then(|| rounded(cpu * 1e3 / logins.max(1) as f64)),
    })
}

/// Logs in and out; the time until the resource was bound.
async fn one(fleet: &Fleet, number: u32) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let login = fleet.account(number);
    let client = Client::session(&fleet.endpoint(number as usize), &login)
        .await
        .with_context(|| login.bare())?;
    let took = begin.elapsed();
    client.close().await;
    Ok(took)
}
