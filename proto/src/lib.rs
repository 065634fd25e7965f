//! The wire types of the cluster, generated from `entente/**/*.proto`; nothing else lives here.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::large_futures,
    reason = "generated code"
)]

/// The mesh between nodes: links, health, calls.
pub mod mesh {
    /// Version 1 of the package `entente.mesh`.
    pub mod v1 {
        tonic::include_proto!("entente.mesh.v1");
    }
}

/// The frames that nodes exchange over the mesh.
pub mod node {
    /// Version 1 of the package `entente.node`.
    pub mod v1 {
        tonic::include_proto!("entente.node.v1");
    }
}
