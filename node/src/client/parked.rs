//! Sessions between two connections of their clients (XEP-0198 section 5): what happens to them until
//! they are resumed or over.

use std::sync::Arc;
use std::time::Duration;

use entente_home_core::{DeliveryId, SessionEndReason};
use entente_xmpp_core::stream::ResumedState;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::ClientService;
use super::resumption::{Claim, Handover, Registration};
use super::session::Session;
use crate::clock::now;
use crate::fabric::Item;

/// A session without a connection: collects what comes for it until its client returns.
pub(super) async fn wait(
    service: Arc<ClientService>,
    mut state: ResumedState,
    mut session: Session,
    registration: Registration,
    mut claims: mpsc::Receiver<Claim>,
) {
    let mut view = service.switchboard.view.clone();
    let end_at = now() + service.stream.resumption;
    loop {
        acknowledge_parked(&service, &mut state, &mut session);
        session.report(now(), &service.switchboard).await;
        let deadline = session.poll_timeout().map_or(end_at, |at| at.min(end_at));
        tokio::select! {
            claim = claims.recv() => {
                drop(registration);
                match claim {
                    Some(claim) => give(&service, state, session, claim).await,
                    None => end(&service, session, state.into_unacked(), SessionEndReason::Lost).await,
                }
                return;
            }
            () = session.handle.inbox.ready() => {
                if !take_parked(&mut state, &mut session) {
                    break;
                }
            }
            changed = view.changed() => {
                if changed.is_err() {
                    break;
                }
                session.follow_home(now(), &service.switchboard).await;
            }
            () = sleep_until(deadline.into()) => {
                if now() >= end_at {
                    break;
                }
                session.timeout(now(), &service.switchboard).await;
            }
        }
    }
    drop(registration);
    end(
        &service,
        session,
        state.into_unacked(),
        SessionEndReason::Lost,
    )
    .await;
}

fn acknowledge_parked(service: &ClientService, state: &mut ResumedState, session: &mut Session) {
    if service.switchboard.fence.may_ack(now()) {
        let handled = session.core().handled();
        if handled > 0 {
            state.handled(handled);
        }
    }
}

/// `false`: the session is over.
fn take_parked(state: &mut ResumedState, session: &mut Session) -> bool {
    for item in session.handle.inbox.take() {
        match item {
            Item::Deliver {
                delivery,
                envelope,
                stanza,
            } => {
                if session
                    .core()
                    .is_new(now(), delivery, envelope.as_ref(), &stanza)
                    && state
                        .push(stanza.into_bytes(), delivery.map_or(0, |id| id.0))
                        .is_err()
                    && let Some(id) = delivery
                {
                    session.core().failed(id);
                }
            }
            Item::Receipt(seq) => session.core().receipt(seq),
            Item::Retry(seq) => session.core().retry(now(), seq),
            Item::Resync(home) => session.core().resync(now(), &home),
            Item::BindResult(_) => {}
            Item::End(_) | Item::Leave | Item::Shutdown => return false,
        }
    }
    true
}

/// Gives the session to the client's new connection.
pub(super) async fn give(
    service: &ClientService,
    mut state: ResumedState,
    mut session: Session,
    claim: Claim,
) {
    // What is still on its way to a receipt would be sent a second time: wait a moment for it.
    let patience = now() + Duration::from_secs(1);
    while session.waiting() > 0 && now() < patience {
        let ready = tokio::time::timeout_at(patience.into(), session.handle.inbox.ready()).await;
        if ready.is_err() || !take_parked(&mut state, &mut session) {
            break;
        }
        acknowledge_parked(service, &mut state, &mut session);
    }
    session.report(now(), &service.switchboard).await;
    session.core().resumed();
    if let Err(Handover { state, session }) = claim.send(Handover {
        state: Box::new(state),
        session,
    }) {
        end(
            service,
            session,
            state.into_unacked(),
            SessionEndReason::Lost,
        )
        .await;
    }
}

/// Ends a session for good: what the client never acknowledged goes back to the home.
pub(super) async fn end(
    service: &ClientService,
    mut session: Session,
    unacked: Vec<entente_xmpp_core::management::Unacked>,
    reason: SessionEndReason,
) {
    // What the client may say again, and what it may get again.
    let (unacknowledged, undelivered) = (session.waiting(), unacked.len());
    for unacked in unacked {
        if unacked.token != 0 {
            session.core().failed(DeliveryId(unacked.token));
        }
    }
    tracing::debug!(session = %session.full(), ?reason, unacknowledged, undelivered, "a session ended");
    session.end(now(), reason, &service.switchboard).await;
}
