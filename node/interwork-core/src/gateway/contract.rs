//! The contract between a gateway shard and what drives it.

use std::sync::Arc;

use bytes::Bytes;
use entente_sip_core::draft::Draft;
use entente_sip_core::message::Message;
use entente_sip_core::reply::Reply;
use entente_sip_core::transaction::Failure;
use entente_sip_core::usage::RequestId;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;

use super::settings::Settings;

/// A stanza of a local user that the gateway has to answer for; chosen by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StanzaId(pub u64);

/// A stanza that the gateway hands to a local user's home and wants the receipt of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A request to a peer that waits for its outcome. Unique per shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Ties a store operation to its answer. Unique per shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u64);

/// A record of a user as the store keeps it: the key is unique for the user and says what the record
/// is; the bytes mean something to the gateway only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// At most 255 bytes.
    pub key: Box<str>,
    /// At most [`MAX_RECORD`] bytes.
    pub bytes: Bytes,
}

/// The largest record, in bytes: a dialog with the longest route set and its last document.
pub const MAX_RECORD: usize = 128 * 1024;

/// What happens to a shard.
#[derive(Debug)]
pub enum Input {
    /// A stanza of a user of this shard for a SIP domain. Answered once by [`Output::Taken`].
    FromUser {
        /// Its name; none for stanzas that nobody waits for.
        id: Option<StanzaId>,
        /// The stanza, with `from` and `to`.
        stanza: Stanza,
    },
    /// The home has taken responsibility for a stanza.
    Delivered(Ticket),
    /// The home did not take it: nothing became of it.
    NotDelivered(Ticket),
    /// A peer's request for a user of this shard, within the peer's rights. Answered once by
    /// [`Output::Respond`] if it has an id; ACK of a 2xx and BENOTIFY have none.
    Request {
        /// Its name.
        id: Option<RequestId>,
        /// The peer's name in the settings.
        peer: Arc<str>,
        /// The request.
        message: Message,
    },
    /// A response to a request of ours, also a provisional one.
    Response {
        /// Of which.
        call: CallId,
        /// The response.
        message: Message,
    },
    /// A request of ours has no response.
    Failed {
        /// Which.
        call: CallId,
        /// Why.
        failure: Failure,
    },
    /// The peer can be reached again after it could not: what it may have missed is said again, paced
    /// (requirement H7).
    PeerUp {
        /// The peer's name.
        peer: Arc<str>,
    },
    /// The answer to [`Output::Store`].
    Stored {
        /// Of which.
        id: StoreId,
        /// Whether it is durable.
        durable: bool,
    },
    /// The answer to [`Output::Load`].
    Loaded {
        /// Of which.
        id: StoreId,
        /// The user's records; none if the store does not answer.
        records: Option<Vec<Record>>,
    },
    /// This node is these users' home now, and the store has records of theirs: they are taken up.
    Adopt {
        /// Who.
        users: Vec<BareJid>,
    },
    /// New settings after a reload. Running dialogs keep what they began with.
    Settings(Arc<Settings>),
    /// These users have another home now: their state is dropped without a word to anybody. The new
    /// home finds it in the store.
    Release {
        /// Who.
        users: Vec<BareJid>,
    },
    /// The node drains: watchers are told to subscribe again elsewhere.
    Drain,
    /// The deadline of `poll_timeout` has come.
    Timeout,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Output {
    /// Give this to the home of its `to`, as if it came from a peer.
    ToUser {
        /// If present, say [`Input::Delivered`] or [`Input::NotDelivered`] with it.
        ticket: Option<Ticket>,
        /// The stanza, with `from` and `to`.
        stanza: Stanza,
    },
    /// The gateway, the peer or the store has the stanza, or an error about it went back.
    Taken(StanzaId),
    /// Not taken now: the holder says it again after a pause.
    NotTaken(StanzaId),
    /// The response to a peer's request.
    Respond {
        /// To which.
        id: RequestId,
        /// The response.
        reply: Reply,
    },
    /// A request for a peer. The shell adds the Via, keeps the transaction and says what becomes of it.
    Send {
        /// Its name.
        call: CallId,
        /// Whose dialog or message it is.
        user: BareJid,
        /// The peer's name in the settings.
        peer: Arc<str>,
        /// The peer's domain.
        domain: Arc<str>,
        /// The request.
        draft: Draft,
    },
    /// An INVITE of ours is not wanted any more: CANCEL goes out if it has no final response yet. Its
    /// outcome still comes.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// The ACK of a 2xx: sent once, nothing comes back.
    Ack {
        /// Whose.
        user: BareJid,
        /// The peer's name in the settings.
        peer: Arc<str>,
        /// The peer's domain.
        domain: Arc<str>,
        /// The request.
        draft: Draft,
    },
    /// Write (or, without bytes, remove) a record. Operations of one user are done in the order given.
    Store {
        /// Comes back in [`Input::Stored`].
        id: StoreId,
        /// Whose.
        user: BareJid,
        /// The record's key.
        key: Box<str>,
        /// The record, or nothing to remove it.
        bytes: Option<Bytes>,
    },
    /// Read all records of a user.
    Load {
        /// Comes back in [`Input::Loaded`].
        id: StoreId,
        /// Whose.
        user: BareJid,
    },
}
