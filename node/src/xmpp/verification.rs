//! Asking a domain's authoritative server whether it issued a dialback key (XEP-0220 section 2.1).

use crate::clock::now;
use std::sync::Arc;

use entente_xmpp_core::dialback::DialbackOutcome;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::stream::{OutboundInput, OutboundOutput, Purpose};

use super::connection;
use super::service::XmppService;

/// One question per stream.
const TOKEN: u64 = 1;

/// What `from`'s server says about `key`, which somebody gave on the stream `stream_id` to `to`.
pub(super) async fn verify(
    service: Arc<XmppService>,
    from: Arc<str>,
    to: Arc<str>,
    stream_id: Arc<str>,
    key: String,
) -> DialbackOutcome {
    let Ok(_permit) = service.verifications.try_acquire() else {
        metrics::counter!("entente_xmpp_verifications_refused_total").increment(1);
        return DialbackOutcome::Error(StanzaCondition::ResourceConstraint);
    };
    let question = |stream: &mut entente_xmpp_core::stream::OutboundStream| {
        let question = OutboundInput::Verify {
            token: TOKEN,
            stream_id: stream_id.to_string(),
            key: key.clone(),
        };
        stream.handle_input(now(), question);
    };
    let opened = Box::pin(connection::open(
        &service,
        &to,
        &from,
        Purpose::Verify,
        question,
    ))
    .await;
    let mut connection = match opened {
        Ok((connection, _)) => connection,
        Err(failure) => return DialbackOutcome::Error(failure.stanza_error().condition),
    };
    let outcome = loop {
        match connection.next().await {
            Ok(OutboundOutput::Verified {
                token: TOKEN,
                outcome,
            }) => break outcome,
            Ok(OutboundOutput::Failed(_) | OutboundOutput::Closed(_)) | Err(_) => {
                break DialbackOutcome::Error(StanzaCondition::RemoteServerTimeout);
            }
            Ok(_) => {}
        }
    };
    connection
        .stream
        .handle_input(now(), OutboundInput::Close(None));
    // The answer shall not wait for the goodbye.
    tokio::spawn(async move { connection.finish().await });
    outcome
}
