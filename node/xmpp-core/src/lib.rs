//! Skeleton.

pub mod dialback;
pub mod management;
pub mod sasl;
