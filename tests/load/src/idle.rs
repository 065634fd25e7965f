//! Memory per idle session: the difference of the server's memory before and after.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use entente_load::Client;
use entente_load::process::Usage;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Greeting};
use crate::options::{Common, IdleArgs};
use crate::report::{Outcome, rounded};

/// What holding sessions gave.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    sessions: usize,
    /// Sessions whose connection had ended when memory was read.
    ended: usize,
    login_seconds: f64,
    before: Usage,
    after: Usage,
    rss_kib_per_session: f64,
    pss_kib_per_session: f64,
    cpu_ms_per_login: f64,
}

impl Outcome for IdleReport {
    fn success(&self) -> bool {
        self.ended == 0
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} idle sessions: {:.1} KiB RSS, {:.1} KiB PSS each (RSS {} KiB before, {} KiB after); \
             {:.2} CPU ms per login, {} ended",
            self.sessions,
            self.rss_kib_per_session,
            self.pss_kib_per_session,
            self.before.rss_kib,
            self.after.rss_kib,
            self.cpu_ms_per_login,
            self.ended
        )
    }
}

pub(crate) async fn run(common: &Common, args: &IdleArgs) -> anyhow::Result<IdleReport> {
    let processes = common.processes();
    ensure!(
        !processes.is_empty(),
        "name the server's processes: --pid or --pid-name"
    );
    let fleet = Fleet::new(&args.server.domain, &args.server.addr, common);
    let greeting = Greeting {
        presence: args.presence,
        sm: args.sm,
    };
    // Warm-up: one session of each of some accounts loads code and caches that are no session's.
    let warm = (1..=args.users.min(20)).map(|n| (n, None)).collect();
    for client in fleet.log_in(warm, greeting).await? {
        client.close().await;
    }
    sleep(Duration::from_secs(1)).await;

    let before = processes.usage();
    ensure!(before.processes > 0, "no such process");
    let begin = Instant::now();
    let who = (0..args.sessions)
        .map(|i| (i % args.users + 1, Some(format!("r{}", i / args.users))))
        .collect();
    let mut clients = fleet.log_in(who, greeting).await?;
    let login_seconds = begin.elapsed().as_secs_f64();
    sleep(Duration::from_secs_f64(args.settle)).await;
    let after = processes.usage();

    let mut ended = 0;
    for client in &mut clients {
        ended += usize::from(has_ended(client).await);
    }
    let each = |before: u64, after: u64| {
        rounded((after as f64 - before as f64) / clients.len().max(1) as f64)
    };
    Ok(IdleReport {
        sessions: clients.len(),
        ended,
        login_seconds: rounded(login_seconds),
        before,
        after,
        rss_kib_per_session: each(before.rss_kib, after.rss_kib),
        pss_kib_per_session: each(before.pss_kib, after.pss_kib),
        cpu_ms_per_login: rounded(
            (after.cpu_seconds - before.cpu_seconds) * 1e3 / clients.len().max(1) as f64,
        ),
    })
}

/// Reads whatever is there already, without waiting.
async fn has_ended(client: &mut Client) -> bool {
    loop {
        tokio::select! {
            biased;
            filled = client.fill() => match filled {
                Err(_) => return true,
                Ok(()) => loop {
                    match client.pop() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return true,
                    }
                },
            },
            () = std::future::ready(()) => return false,
        }
    }
}
