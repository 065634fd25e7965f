//! The users behind the gateway: XMPP clients that read what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use entente_load::{Client, ClientError};
use tokio::task::JoinSet;

use super::Run;
use crate::fleet::{Fleet, Greeting};
use crate::options::{Common, SipArgs};

/// Logs in one client for each sender.
pub(super) async fn log_in(
    tasks: &mut JoinSet<()>,
    run: &Arc<Run>,
    common: &Common,
    args: &SipArgs,
) -> anyhow::Result<()> {
    let fleet = Fleet::new(&args.domain, &args.clients, common);
    let greeting = Greeting {
        presence: true,
        sm: false,
    };
    let numbers = (1..=args.senders).map(|number| (number, None)).collect();
    for client in fleet.log_in(numbers, greeting).await? {
        let run = Arc::clone(run);
        tasks.spawn(async move {
            if let Err(error) = read(&run, client).await {
                run.broke("client", &error);
            }
        });
    }
    Ok(())
}

async fn read(run: &Run, mut client: Client) -> Result<(), ClientError> {
    loop {
        client.fill().await?;
        while let Some(stanza) = client.pop()? {
            if stanza.is("message") && stanza.text_of("body").is_some() {
                run.received.fetch_add(1, Relaxed);
            }
        }
    }
}
