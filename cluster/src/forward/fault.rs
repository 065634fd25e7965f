//! What can go wrong with the mesh, and whose fault it is.

use std::io;
use std::net::SocketAddr;

use crate::NodeId;

/// The mesh cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The listener cannot be opened.
    #[error("cannot listen for the mesh at {listen}: {source}")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate belongs to another node.
    #[error("the mesh certificate belongs to node {certificate}, this is node {local}")]
    WrongIdentity {
        /// The node that the certificate names.
        certificate: NodeId,
        /// The local node.
        local: NodeId,
    },
}

/// A frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue to that node is full; try later, or push back on whoever the frame came from.
    #[error("the queue to that node is full")]
    Full,
    /// The view has no such member, or it is down, or it is the local node. Look at the view
    /// again.
    #[error("no such member in the view, or it is down")]
    NoSuchMember,
    /// The frame exceeds `MeshLimits::max_frame_bytes`.
    #[error("the frame is too large for the mesh")]
    TooLarge,
    /// The mesh has been shut down.
    #[error("the mesh has been shut down")]
    Closed,
}

/// A call got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The view has no such member, or it is the local node.
    #[error("no such member in the view")]
    NoSuchMember,
    /// The payload exceeds `MeshLimits::max_frame_bytes`.
    #[error("the payload is too large for the mesh")]
    TooLarge,
    /// Too many calls to that node are under way; nothing was sent.
    #[error("too many calls to that node")]
    TooMany,
    /// There was no connection to that node within the deadline; nothing was sent.
    #[error("that node is not reachable")]
    Unreachable,
    /// No answer within the deadline; it may have been done or not.
    #[error("no answer in time")]
    Deadline,
    /// The connection broke; it may have been done or not.
    #[error("the connection broke")]
    Broken,
    /// The other node refused.
    #[error("refused: {0}")]
    Refused(#[from] CallRefusal),
}

/// Why a node refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// It knows no such kind; it may be older.
    #[error("unknown kind of call")]
    UnknownKind,
    /// Too many calls at once; try again later.
    #[error("busy")]
    Busy,
    /// It cannot understand the payload.
    #[error("malformed payload")]
    Malformed,
    /// It cannot do it now.
    #[error("unavailable")]
    Unavailable,
}

/// Why a link is not up, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(io::ErrorKind),
    /// TLS failed: wrong CA, another node's certificate, or no TLS at all.
    #[error("TLS: {0}")]
    Tls(String),
    /// Connection, handshake or welcome took too long.
    #[error("timed out")]
    Timeout,
    /// The versions do not overlap: upgrade the older node first to one that speaks both.
    #[error(
        "it speaks mesh versions {theirs_min} to {theirs_max}, we speak {ours_min} to {ours_max}"
    )]
    Incompatible {
        /// Our lowest version.
        ours_min: u32,
        /// Our highest version.
        ours_max: u32,
        /// Their lowest version.
        theirs_min: u32,
        /// Their highest version.
        theirs_max: u32,
    },
    /// The certificate and the claimed name of one side do not fit.
    #[error("the node's name does not fit its certificate or the view")]
    Identity,
    /// The peer knows a newer generation of the local node: two nodes run under one name, or the
    /// local one has lost its stored generation.
    #[error("it knows a newer generation of this node")]
    Stale,
    /// The peer does not speak the protocol.
    #[error("it breaks the protocol of the mesh")]
    Protocol,
    /// The connection broke, or gRPC reported an error.
    #[error("connection: {0}")]
    Connection(String),
}
