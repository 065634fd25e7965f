//! The connections of this node that something can be sent to: client sessions, and inbound
//! federation streams (which only get receipts).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use entente_home_core::SessionKey;
use hashbrown::HashMap;

use super::inbox::{Inbox, Item};

const PARTS: usize = 16;

/// Connection number → inbox. Split into parts so that logins on one core do not hold up
/// deliveries on another; the locks are held for a map operation only.
pub(crate) struct Connections {
    edge: Arc<str>,
    epoch: u64,
    next: AtomicU64,
    /// Holders that are part of the node and stay until it ends.
    standing: AtomicUsize,
    /// The node hands over: whoever comes late is told so at once.
    closed: AtomicBool,
    parts: [RwLock<HashMap<u64, Arc<Inbox>>>; PARTS],
}

impl Connections {
    pub(crate) fn new(edge: Arc<str>, epoch: u64) -> Self {
        Self {
            edge,
            epoch,
            next: AtomicU64::new(1),
            standing: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            parts: std::array::from_fn(|_| RwLock::default()),
        }
    }

    /// Opens a connection's inbox; it is gone when the handle drops.
    pub(crate) fn open(self: &Arc<Self>) -> ConnectionHandle {
        let conn = self.next.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::default());
        self.part(conn)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(conn, Arc::clone(&inbox));
        // After it is in the table: a drain sees it there, or it sees the drain here.
        if self.closed.load(Ordering::SeqCst) {
            let _new = inbox.push(Item::Leave);
        }
        ConnectionHandle {
            key: SessionKey::new(Arc::clone(&self.edge), self.epoch, conn),
            inbox,
            connections: Arc::clone(self),
        }
    }

    /// Opens the inbox of a holder that is part of the node: it does not count as a connection.
    pub(crate) fn open_standing(self: &Arc<Self>) -> ConnectionHandle {
        self.standing.fetch_add(1, Ordering::Relaxed);
        self.open()
    }

    /// From now on every connection that opens is told to take its leave.
    pub(crate) fn close_door(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Takes [`Self::close_door`] back.
    pub(crate) fn open_door(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// The inbox of `key`, if the connection is here and alive.
    pub(crate) fn get(&self, key: &SessionKey) -> Option<Arc<Inbox>> {
        if !self.is_local(key) {
            return None;
        }
        self.part(key.conn)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key.conn)
            .cloned()
    }

    /// Whether `key` names a connection of this run of this node.
    pub(crate) fn is_local(&self, key: &SessionKey) -> bool {
        key.epoch == self.epoch && key.edge == self.edge
    }

    /// All inboxes, for a drain.
    pub(crate) fn all(&self) -> Vec<Arc<Inbox>> {
        self.parts
            .iter()
            .flat_map(|part| {
                part.read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .values()
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// How many connections are open.
    pub(crate) fn count(&self) -> usize {
        let open: usize = self
            .parts
            .iter()
            .map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum();
        open.saturating_sub(self.standing.load(Ordering::Relaxed))
    }

    fn part(&self, conn: u64) -> &RwLock<HashMap<u64, Arc<Inbox>>> {
        &self.parts[(conn % PARTS as u64) as usize]
    }
}

/// An open connection; dropping it takes it out of the table.
pub(crate) struct ConnectionHandle {
    pub(crate) key: SessionKey,
    pub(crate) inbox: Arc<Inbox>,
    connections: Arc<Connections>,
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        let conn = self.key.conn;
        self.connections
            .part(conn)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&conn);
    }
}
