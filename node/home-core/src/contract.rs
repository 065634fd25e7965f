//! The contract between a home shard and what drives it: ids, inputs, outputs, store operations.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use entente_xmpp_core::jid::{BareJid, FullJid, Jid};
use entente_xmpp_core::stanza::Stanza;
use thiserror::Error;

use crate::roster::RosterItem;

/// A client session (or, as a holder of envelopes, an inbound federation stream) in the cluster.
///
/// It goes along with every stanza through queues and tables of several threads, so it is one pointer,
/// and what its clones count is its own: with the name of the node counted in each, all threads would
/// wait for that one counter.
#[derive(Clone, PartialOrd, Ord)]
pub struct SessionKey(Arc<ConnectionName>);

/// What a [`SessionKey`] says.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionName {
    /// Node id of the edge node that has the connection.
    pub edge: Arc<str>,
    /// Generation of that edge node; grows with every restart.
    pub epoch: u64,
    /// Number of the connection, unique within one generation of the edge node.
    pub conn: u64,
}

impl SessionKey {
    /// The connection `conn` of this life of `edge`.
    pub fn new(edge: impl Into<Arc<str>>, epoch: u64, conn: u64) -> Self {
        Self(Arc::new(ConnectionName {
            edge: edge.into(),
            epoch,
            conn,
        }))
    }
}

impl Deref for SessionKey {
    type Target = ConnectionName;

    fn deref(&self) -> &ConnectionName {
        &self.0
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        // Most that differ do so in the number.
        Arc::ptr_eq(&self.0, &other.0)
            || (self.conn == other.conn && self.epoch == other.epoch && self.edge == other.edge)
    }
}

impl Eq for SessionKey {}

// Without the node: few nodes have a connection of the same number in the same generation.
impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
        self.conn.hash(state);
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectionName { edge, epoch, conn } = &**self;
        write!(f, "{edge}/{epoch}/{conn}")
    }
}

/// Names one accepted stanza in the whole cluster for ever. Text form: `edge/epoch/conn/seq`.
/// `after` says something about this sending of it and is not part of the name: it does not count
/// for equality, order and hash, and is not stored.
#[derive(Debug, Clone)]
pub struct EnvelopeId {
    /// The connection that accepted the stanza and keeps it until the receipt.
    pub holder: SessionKey,
    /// Counts up per holder.
    pub seq: u64,
    /// The last message of the same holder to the same user before this one, if that has no receipt
    /// yet. The user's home takes this one only if it knows that one; else one of them took another
    /// way or was lost on it, and the holder is asked to send them again in order.
    pub after: Option<u64>,
}

impl EnvelopeId {
    /// The name of the stanza `seq` of `holder`, which need not wait for another one.
    pub fn new(holder: SessionKey, seq: u64) -> Self {
        Self {
            holder,
            seq,
            after: None,
        }
    }

    fn name(&self) -> (&SessionKey, u64) {
        (&self.holder, self.seq)
    }
}

impl PartialEq for EnvelopeId {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq && self.holder == other.holder
    }
}

impl Eq for EnvelopeId {}

impl Hash for EnvelopeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl PartialOrd for EnvelopeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EnvelopeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(&other.name())
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.holder, self.seq)
    }
}

/// The text was not `edge/epoch/conn/seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an envelope id (edge/epoch/conn/seq)")]
pub struct BadEnvelopeId;

impl FromStr for EnvelopeId {
    type Err = BadEnvelopeId;

    fn from_str(text: &str) -> Result<Self, BadEnvelopeId> {
        let mut parts = text.rsplitn(4, '/');
        let mut number = || {
            parts
                .next()
                .and_then(|part| part.parse::<u64>().ok())
                .ok_or(BadEnvelopeId)
        };
        let (seq, conn, epoch) = (number()?, number()?, number()?);
        let edge = parts
            .next()
            .filter(|edge| !edge.is_empty())
            .ok_or(BadEnvelopeId)?;
        Ok(Self {
            holder: SessionKey::new(edge, epoch, conn),
            seq,
            after: None,
        })
    }
}

/// One message on its way to one or more sessions of a user; what the sessions' acks name.
/// Unique per shard instance (see `HomeConfig::delivery_base`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// Ties a store operation to its answer. Unique per shard instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Why a session ended, as its edge node says. Contacts see `unavailable` in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEndReason {
    /// The client closed its stream.
    Closed,
    /// The connection was lost and its time to resume is over.
    Lost,
    /// The edge node ended it (drain, policy, stream error).
    Terminated,
}

/// What an edge node knows of a session and tells a new home. Kept by `SessionMirror`.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSnapshot {
    /// The session's full JID.
    pub full: FullJid,
    /// Last broadcast presence if the session is available.
    pub presence: Option<Stanza>,
    /// XEP-0280 enabled.
    pub carbons: bool,
    /// The client asked for its roster: it gets roster pushes.
    pub roster_interested: bool,
    /// The client asked for its block list: it gets block pushes.
    pub blocklist_interested: bool,
    /// Entities that saw this session through directed presence.
    pub directed: Vec<Jid>,
}

/// What happens to a shard.
#[derive(Debug, Clone)]
pub enum Input {
    /// A stanza from a client of a user of this shard. `from` is the session's full JID, checked.
    FromClient {
        /// The client's session.
        session: SessionKey,
        /// The envelope that the session holds until `Receipt`.
        envelope: EnvelopeId,
        /// The stanza.
        stanza: Stanza,
    },
    /// A stanza for a user of this shard, from a home or from an authenticated peer.
    ToUser {
        /// Absent: nobody waits for a receipt (errors, presence made by a server).
        envelope: Option<EnvelopeId>,
        /// The stanza, with `from` and `to`.
        stanza: Stanza,
    },
    /// A client binds a resource; answered by `Output::BindResult`.
    Bind {
        /// The new session.
        session: SessionKey,
        /// The authenticated user.
        user: BareJid,
        /// What the client asked for, if anything.
        resource: Option<String>,
        /// Returned in the answer; chosen by the edge node.
        request: u64,
    },
    /// An edge node tells its session to the (new or restarted) home.
    Register {
        /// The session.
        session: SessionKey,
        /// Its state.
        snapshot: SessionSnapshot,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        session: SessionKey,
        /// Its full JID.
        full: FullJid,
        /// Why.
        reason: SessionEndReason,
    },
    /// A session's client has these (acked, or written to a socket without XEP-0198).
    Delivered {
        /// The session.
        session: SessionKey,
        /// What it has.
        ids: Vec<DeliveryId>,
    },
    /// A session can't take these (it is gone or full): others are tried, then the store.
    DeliveryFailed {
        /// The session.
        session: SessionKey,
        /// What did not get there.
        ids: Vec<DeliveryId>,
    },
    /// An edge node died: its sessions up to this generation are over.
    EdgeLost {
        /// Node id.
        edge: Arc<str>,
        /// Newest generation that is lost.
        epoch: u64,
    },
    /// These users have another home now. Their state is dropped without a word to contacts;
    /// envelopes without a receipt get `Retry`, so that the holders send them to the new home.
    Release {
        /// Who left. See `HomeShard::users`.
        users: Vec<BareJid>,
    },
    /// The homes have changed: sessions of users that are loaded in the next moment may be at other
    /// edge nodes and not have registered yet, and another node may take itself for the home. To be
    /// given before anything that comes by the new view.
    HomesChanged,
    /// The store's copy here has these messages, whichever node wrote them. A home that is too late
    /// to know that it is one no more may store messages that the new one did not find.
    Stored {
        /// For whom.
        user: BareJid,
        /// Keys of the messages.
        ids: Vec<EnvelopeId>,
    },
    /// The answer to `Output::Store`.
    Store {
        /// The request.
        request: RequestId,
        /// The answer.
        answer: StoreAnswer,
    },
    /// The deadline of `poll_timeout` has come.
    Timeout,
    /// The account was deleted: sessions end, contacts are told.
    AccountRemoved {
        /// Whose.
        user: BareJid,
    },
    /// An error stanza that this node made for a stanza which could not be routed; it goes to its
    /// `to` like `ToUser` without an envelope.
    Bounced {
        /// The error, addressed to our user.
        stanza: Stanza,
    },
}

/// What a shard wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Give this to a client.
    ToSession {
        /// Where.
        session: SessionKey,
        /// If present, report `Delivered` or `DeliveryFailed` with it.
        delivery: Option<DeliveryId>,
        /// If present, the edge session drops what it has seen, and still reports `Delivered`.
        envelope: Option<EnvelopeId>,
        /// The stanza. Its `to` may be the user's bare JID.
        stanza: Stanza,
    },
    /// Answer to `Input::Bind`.
    BindResult {
        /// The session.
        session: SessionKey,
        /// From `Input::Bind`.
        request: u64,
        /// The full JID that is bound.
        result: Result<FullJid, BindError>,
    },
    /// Close this session; the shard has forgotten it already.
    EndSession {
        /// Which.
        session: SessionKey,
        /// The stream error to close it with.
        reason: EndReason,
    },
    /// Route by the stanza's `to`: to a local user's home (as `Input::ToUser`, this shard
    /// included) or to another domain. Custody of the envelope goes along.
    Route {
        /// Whose receipt the next holder sends.
        envelope: Option<EnvelopeId>,
        /// The stanza, with `from` and `to`.
        stanza: Stanza,
    },
    /// Custody ends: tell the holder. At most once per arrival of an envelope.
    Receipt {
        /// Which.
        envelope: EnvelopeId,
    },
    /// Not taken (not our user, overload, store away): the holder sends again after a pause.
    Retry {
        /// Which.
        envelope: EnvelopeId,
    },
    /// Ask the store. Operations of one user must be executed in the order given.
    Store {
        /// Returned in `Input::Store`. Every request must be answered, `Failed` on a time-out.
        request: RequestId,
        /// What.
        op: StoreOp,
    },
}

/// Why a resource could not be bound; RFC 6120 section 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BindError {
    /// The resource is not a valid resourcepart: `bad-request`.
    #[error("invalid resource")]
    BadResource,
    /// Too many sessions: `resource-constraint`.
    #[error("too many sessions")]
    TooManySessions,
    /// No such account (removed after login): `not-allowed`.
    #[error("no such account")]
    NoSuchUser,
    /// The store does not answer or the shard is full: `resource-constraint`, type wait.
    #[error("the home is not available now")]
    Unavailable,
}

/// Why the home ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Another session bound the same resource: stream error `conflict`.
    Conflict,
    /// The account was removed: stream error `not-authorized`.
    AccountRemoved,
    /// The home could not take the session over: stream error `resource-constraint`.
    Refused,
}

/// An operation on the store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOp {
    /// Read what is kept about a user, answered by `Loaded`.
    Load {
        /// Whose.
        user: BareJid,
    },
    /// Write durably, in this order, answered by `Written` with an outcome for each. All writes of
    /// one operation belong to one user.
    Write(Vec<Write>),
    /// Read offline messages in the order in which they were stored; answered by `Offline`.
    LoadOffline {
        /// Whose.
        user: BareJid,
        /// The cursor of the last one seen; none: from the oldest.
        after: Option<u64>,
        /// How many at most.
        limit: u32,
    },
}

/// One durable change.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Insert or replace a roster entry and set the user's roster version.
    PutRosterEntry {
        /// Whose roster.
        user: BareJid,
        /// The entry.
        entry: RosterItem,
        /// The roster's new version.
        version: u64,
    },
    /// Remove a roster entry and set the roster version.
    RemoveRosterEntry {
        /// Whose roster.
        user: BareJid,
        /// The contact.
        contact: BareJid,
        /// The roster's new version.
        version: u64,
    },
    /// Keep a subscription request that the user has not answered.
    PutPendingIn {
        /// Who was asked.
        user: BareJid,
        /// Who asks.
        from: BareJid,
        /// The request as it came.
        stanza: Stanza,
    },
    /// Forget a subscription request.
    RemovePendingIn {
        /// Who was asked.
        user: BareJid,
        /// Who asked.
        from: BareJid,
    },
    /// Keep a message for later. Putting an id that is there already changes nothing and is `Done`.
    PutOffline {
        /// For whom.
        user: BareJid,
        /// Key, unique per user.
        id: EnvelopeId,
        /// The message.
        stanza: Stanza,
        /// When the server took it, Unix time in milliseconds.
        stored_at_ms: u64,
    },
    /// Delete a message that was delivered; a missing one is `Done`.
    RemoveOffline {
        /// For whom it was kept.
        user: BareJid,
        /// Key.
        id: EnvelopeId,
    },
    /// Block a JID, XEP-0191.
    Block {
        /// Who blocks.
        user: BareJid,
        /// Whom: full, bare, domain with resource, or domain.
        jid: Jid,
    },
    /// Unblock a JID.
    Unblock {
        /// Who unblocks.
        user: BareJid,
        /// Whom.
        jid: Jid,
    },
    /// Unblock everybody.
    UnblockAll {
        /// Who unblocks.
        user: BareJid,
    },
    /// The user's last session became unavailable, XEP-0012.
    SetLastLogout {
        /// Who.
        user: BareJid,
        /// When, Unix time in milliseconds.
        at_ms: u64,
    },
}

/// What the store says.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreAnswer {
    /// The user's record; none if there is no such account.
    Loaded(Option<UserRecord>),
    /// One outcome per write, in order.
    Written(Vec<WriteOutcome>),
    /// Offline messages, oldest first; fewer than the limit: there are no more.
    Offline(Vec<OfflineMessage>),
    /// Nothing was done, or it is not known.
    Failed {
        /// Trying again may help.
        retryable: bool,
    },
}

/// The outcome of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Durable.
    Done,
    /// The account is gone.
    NoSuchUser,
    /// The user keeps as many as allowed (offline messages, requests).
    Full,
}

/// What is kept about a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserRecord {
    /// The roster.
    pub roster: Vec<RosterItem>,
    /// Grows with every change of the roster.
    pub roster_version: u64,
    /// Subscription requests without an answer.
    pub pending_in: Vec<PendingIn>,
    /// Block list.
    pub blocked: Vec<Jid>,
    /// When the last session became unavailable, Unix milliseconds.
    pub last_logout_ms: Option<u64>,
    /// Number of messages in the offline store.
    pub offline_count: u64,
}

/// A subscription request that the user has not answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingIn {
    /// Who asks.
    pub from: BareJid,
    /// The request as it came.
    pub stanza: Stanza,
}

/// A message from the offline store.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineMessage {
    /// Position in the user's list; grows in the order of storing.
    pub cursor: u64,
    /// Key.
    pub id: EnvelopeId,
    /// The message.
    pub stanza: Stanza,
    /// When the server took it, Unix milliseconds.
    pub stored_at_ms: u64,
}
