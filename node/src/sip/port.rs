//! The seam between the edge, which has the connections to peers, and the gateway shards, which have the
//! users' dialogs. Neither waits for the other: what can't be passed on is answered in the protocol's
//! own words.

use std::collections::BTreeMap;
use std::sync::Arc;

use entente_interwork_core::gateway::Holdings;
use entente_sip_core::Message;
use entente_sip_core::draft::Draft;

use crate::fabric::OutboundItem;

/// A request that a peer waits for the answer of: opaque to the gateway, which hands it back with the
/// response.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leg {
    /// The node that has the connection.
    pub(crate) edge: Arc<str>,
    /// The generation of that node.
    pub(crate) epoch: u64,
    /// The server transaction.
    pub(crate) transaction: u64,
}

/// A request to a peer, as the gateway shard that sent it counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SipCall {
    /// The node of the gateway shard.
    pub(crate) node: Arc<str>,
    /// The generation of that node.
    pub(crate) epoch: u64,
    /// The shard on that node.
    pub(crate) shard: u32,
    /// Counted by the shard.
    pub(crate) id: u64,
}

/// A peer's request for the gateway of a local user.
#[derive(Debug, Clone)]
pub(crate) struct PeerRequest {
    /// `key_hash` of the user's bare JID.
    pub(crate) user: u64,
    /// `None` for what is never answered: the ACK of a 2xx, BENOTIFY.
    pub(crate) leg: Option<Leg>,
    /// The peer's name in the configuration.
    pub(crate) peer: Arc<str>,
    /// The request, without headers of trust.
    pub(crate) message: Message,
}

/// A request of the gateway to a peer.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) call: SipCall,
    /// `key_hash` of the local user's bare JID: decides on the node that sends, and on fairness.
    pub(crate) user: u64,
    /// The peer's name in the configuration.
    pub(crate) peer: Arc<str>,
    /// The peer's domain that the request is for, with U-labels.
    pub(crate) domain: Arc<str>,
    pub(crate) draft: Draft,
}

/// The ACK of a 2xx: it goes out once each time, and nothing comes back.
#[derive(Debug, Clone)]
pub(crate) struct Acking {
    pub(crate) user: u64,
    pub(crate) peer: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) draft: Draft,
}

/// What came of a request to a peer. Of an INVITE there may be several.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A response, also a provisional one.
    Response(Box<Message>),
    /// None will come.
    Failed(SendFailure),
}

impl Outcome {
    /// Whether nothing follows, but perhaps further 2xx of an INVITE.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Response(message) => message.status().is_none_or(|status| status.is_final()),
            Self::Failed(_) => true,
        }
    }
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// Sent, and not answered in time. The peer may have done what was asked.
    Timeout,
    /// Sent, and the connection broke before the answer. The peer may have done what was asked.
    Broken,
    /// Not sent: no connection to the peer could be had.
    Unreachable,
    /// Not sent: too much waits for the peer, or nobody may send to it.
    Refused,
}

/// The gateway does not take it now; the peer is told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The gateway shards of this node.
pub(crate) trait GatewayPort: Send + Sync {
    /// A peer's request for a user whose home is this node.
    fn request(&self, request: PeerRequest) -> Result<(), Busy>;

    /// What came of a request of one of this node's shards.
    fn outcome(&self, call: SipCall, outcome: Outcome);

    /// A connection to the peer is there, after there was none.
    fn peer_up(&self, peer: Arc<str>);

    /// How many dialogs this node's users have with each peer, by the peer's name.
    fn holdings(&self) -> BTreeMap<Arc<str>, Holdings>;

    /// A stanza of a user whose home is this node, to a domain that SIP peers serve. It takes
    /// everything: what it can't send, it answers.
    fn submit(&self, item: OutboundItem);
}
