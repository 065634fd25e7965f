//! A client that books what arrives.

use std::sync::Arc;
use std::time::Duration;

use entente_load::{Client, ClientError};
use tokio::time::{Instant, sleep_until};

use super::link::Link;
use super::{Phase, Shared};

/// Receivers send nothing: only asking for an ack tells them that the server is gone.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Receives until the run is over, through as many connections as it takes; when the run says so,
/// once more with a new session, to fetch what is in offline storage.
pub(crate) async fn run(shared: Arc<Shared>, mut link: Link, client: Client) {
    let mut phase = shared.phase.clone();
    let mut online = Some(client);
    for (this, until) in [
        (Phase::Running, Phase::FetchingOffline),
        (Phase::FetchingOffline, Phase::Over),
    ] {
        if *phase.borrow() == Phase::Over {
            break;
        }
        tokio::select! {
            () = receive(&shared, &mut link, &mut online) => {}
            _ = phase.wait_for(|p| *p == until || *p == Phase::Over) => {}
        }
        if let Some(client) = online.take() {
            client.close().await;
        }
        if this == Phase::Running {
            link.forget();
        }
    }
}

async fn receive(shared: &Shared, link: &mut Link, online: &mut Option<Client>) {
    loop {
        if online.is_none() {
            *online = Some(link.reconnect(&shared.counters).await.client);
        }
        let Some(client) = online else { continue };
        let Err(error) = drive(shared, link, client).await;
        crate::report::progress(format_args!("{} (receiver): {error}", client.jid()));
        if let Some(client) = online.take() {
            link.broke(client, &shared.counters);
        }
    }
}

enum Never {}

async fn drive(shared: &Shared, link: &Link, client: &mut Client) -> Result<Never, ClientError> {
    let patience = link.config().dead_after;
    let mut asked_at = Instant::now();
    loop {
        let popped = book(shared, client);
        let now = Instant::now();
        popped?;
        if client.waits_for_ack() && now >= asked_at + patience {
            return Err(ClientError::Timeout(patience));
        }
        if !client.waits_for_ack() && now >= asked_at + ASK_EVERY {
            client.ask_for_ack();
            asked_at = now;
        }
        let wake = asked_at
            + if client.waits_for_ack() {
                patience
            } else {
                ASK_EVERY
            };
        tokio::select! {
            filled = client.fill() => filled?,
            () = sleep_until(wake) => {}
        }
    }
}

fn book(shared: &Shared, client: &mut Client) -> Result<(), ClientError> {
    while let Some(stanza) = client.pop()? {
        if stanza.name() == "message" && stanza.raw_attr("type") != Some("error") {
            shared
                .ledger
                .delivered(stanza.raw_attr("id"), Instant::now());
        }
    }
    Ok(())
}
