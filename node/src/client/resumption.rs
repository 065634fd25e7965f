//! Sessions that can be resumed (XEP-0198 section 5), by their ids. A client that comes back asks
//! the connection that has its session, dead or not yet known to be dead, to hand it over. Sessions stay
//! at the node where they were; at another node the client is told to begin anew, and its old session ends
//! at once, so that what it never acknowledged need not wait for the end of its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use entente_home_core::SessionKey;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stream::ResumedState;
use ring::hmac;
use tokio::sync::{mpsc, oneshot};

use super::session::Session;

/// Makes and reads the ids of sessions. An id names the connection, so that any node can tell where the
/// session is, under a seal of the cluster that binds it to the user: nobody ends another's session.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The id of `user`'s session.
    pub(super) fn id(&self, session: &SessionKey, user: &BareJid) -> Arc<str> {
        let (epoch, conn, edge) = (session.epoch, session.conn, &session.edge);
        let seal = self.over(session, user);
        Arc::from(format!("{seal}.{epoch:x}.{conn:x}.{edge}"))
    }

    /// The session that `id` names, if it is `user`'s.
    pub(super) fn session(&self, id: &str, user: &BareJid) -> Option<SessionKey> {
        let mut parts = id.splitn(4, '.');
        let seal = parts.next()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (epoch, conn) = (number()?, number()?);
        let session = SessionKey::new(parts.next()?, epoch, conn);
        (seal == self.over(&session, user)).then_some(session)
    }

    fn over(&self, session: &SessionKey, user: &BareJid) -> String {
        let (epoch, conn, edge) = (session.epoch, session.conn, &session.edge);
        let sealed = format!("resumption {epoch:x} {conn:x} {edge} {user}");
        let tag = hmac::sign(&self.0, sealed.as_bytes());
        let half = tag.as_ref().iter().take(16);
        half.map(|byte| format!("{byte:02x}")).collect()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_session_to_its_user_only() {
        let seal = Seal::new(&[7; 32]);
        let session = SessionKey::new("n1", 0x1f, 42);
        let (user, other) = ["a@b.example", "c@b.example"]
            .map(|text| BareJid::new(text).expect("an address"))
            .into();
        let id = seal.id(&session, &user);
        assert_eq!(seal.session(&id, &user), Some(session));
        assert_eq!(seal.session(&id, &other), None);
        assert_eq!(seal.session(&id.replace(".2a.", ".2b."), &user), None);
        for junk in ["", "x", "a.b.c", "a.1.1.", "....."] {
            assert_eq!(seal.session(junk, &user), None, "{junk}");
        }
    }
}
