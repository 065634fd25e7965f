//! The cluster.

pub mod custody;
