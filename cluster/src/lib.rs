//! The cluster: who belongs to it, who is the home of whom, and the links between its nodes.
//!
//! Pure parts (they take `now` as an argument and know no sockets): [`node_id`], [`view`],
//! [`change`], [`home`], [`lease`], [`filter`] and the [`custody`] table. Parts that
//! act: membership (gossip) and the mesh.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test fails by panicking, and its virtual time starts somewhere"
    )
)]

pub mod change;
pub mod custody;
pub mod filter;
pub mod forward;
pub mod home;
pub mod lease;
pub mod node_id;
pub mod view;

pub use change::{Change, changes};
pub use lease::{Fence, FenceTimes, Lease, LeaseRow, LeaseTable};
pub use node_id::{NodeId, NodeIdError};
pub use view::{ClusterView, Member, MemberState, Roles, Standing};
