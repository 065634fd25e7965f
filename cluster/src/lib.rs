//! The cluster: who belongs to it, who is the home of whom, and the links between its nodes.
//!
//! Pure parts (they take `now` as an argument and know no sockets): [`node_id`], [`view`],
//! [`change`], [`home`], [`lease`], [`filter`] and the [`custody`] table. Parts that
//! act: [`membership`] (gossip) and the mesh.
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
pub mod membership;
pub mod node_id;
pub mod view;

pub use change::{Change, changes};
pub use lease::{Fence, FenceTimes, Lease, LeaseRow, LeaseTable};
pub use membership::{
    MemberFacts, Membership, MembershipConfig, MembershipError, MembershipHandle,
};
pub use node_id::{NodeId, NodeIdError};
pub use view::{ClusterView, Member, MemberState, Roles, Standing};

/// Entry points for fuzzing; not part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    use crate::membership::sealed;

    /// Opens arbitrary bytes as a gossip datagram and, with the key at hand, an arbitrary message
    /// sealed for us with bytes changed. Panics if anything that was changed is taken.
    pub fn sealed_datagram(data: &[u8]) {
        sealed::fuzz(data);
    }
}
