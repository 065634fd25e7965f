//! Sessions that can be resumed (XEP-0198 section 5), by their ids. A client that comes back asks
//! the connection that has its session, dead or not yet known to be dead, to hand it over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stream::ResumedState;
use tokio::sync::{mpsc, oneshot};

use super::session::Session;

/// What goes from the old connection to the new one.
pub(crate) struct Handover {
    pub(super) state: Box<ResumedState>,
    pub(super) session: Session,
}

/// A wish for a session.
pub(crate) type Claim = oneshot::Sender<Handover>;

/// Resumption id → whose it is, and where to claim it.
type ById = HashMap<Arc<str>, (BareJid, mpsc::Sender<Claim>)>;

/// The table of one node.
#[derive(Default, Clone)]
pub(crate) struct Resumable {
    by_id: Arc<Mutex<ById>>,
}

impl Resumable {
    /// Makes a session known. The entry goes when the registration drops.
    pub(super) fn register(
        &self,
        id: Arc<str>,
        user: BareJid,
    ) -> (Registration, mpsc::Receiver<Claim>) {
        let (claims, receiver) = mpsc::channel(1);
        self.lock().insert(Arc::clone(&id), (user, claims));
        (
            Registration {
                table: self.clone(),
                id,
            },
            receiver,
        )
    }

    /// Asks for the session `id` of `user`; `None` if there is none or it can't be had.
    pub(super) async fn claim(&self, id: &str, user: &BareJid) -> Option<Handover> {
        let claims = {
            let table = self.lock();
            let (owner, claims) = table.get(id)?;
            if owner != user {
                return None;
            }
            claims.clone()
        };
        let (answer, handover) = oneshot::channel();
        claims.send(answer).await.ok()?;
        handover.await.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ById> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session in the table.
pub(super) struct Registration {
    table: Resumable,
    id: Arc<str>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}
