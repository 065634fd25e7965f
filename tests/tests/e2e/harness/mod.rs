//! What the tests stand on: processes, folders, certificates, names, raw streams.

mod authority;
mod baresip;
mod cases;
mod cluster;
mod dig;
mod ejabberd;
mod folder;
mod kamailio;
mod linphone;
mod name_server;
mod node;
mod process;
mod profanity;
mod prosody;
mod sip_wire;
mod sipp;
mod talk;
mod wait;
mod wire;

pub use authority::{Authority, Issued};
pub use baresip::Baresip;
pub use cases::Cases;
pub(crate) use cases::case;
pub use cluster::{Cluster, Settings, online_at, session_at};
pub use dig::{dig, srv_targets};
pub use ejabberd::Ejabberd;
pub use folder::Folder;
pub use kamailio::{Kamailio, SIP_TLS_PORT};
pub use linphone::Linphone;
pub use name_server::NameServer;
pub use node::{
    ADMIN_PORT, CLIENT_PORT, CLIENT_TLS_PORT, DNS_PORT, GOSSIP_PORT, MESH_PORT, Node, PEER_PORT,
    PEER_TLS_PORT, RAFT_PORT, STORE_PORT, binary, command,
};
pub use process::{Process, have, have_file, keep_from_settings};
pub use profanity::{ClientTls, Profanity};
pub use prosody::{Prosody, VirtualHost, external};
pub use sip_wire::SipWire;
pub use sipp::Sipp;
pub use wait::{eventually, within};
pub use wire::{Got, Wire, client_tls, federated, stream_header};

use std::time::Duration;

/// How long an answer may take on a busy machine before a test calls it missing.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test listens before it calls something absent. Only for what cannot be shown by a
/// later event.
pub const SILENCE: Duration = Duration::from_millis(400);
/// The password of every account.
pub const PASSWORD: &str = "correct horse 7";
