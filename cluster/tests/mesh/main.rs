//! Real meshes on loopback.
#![expect(
    clippy::disallowed_methods,
    reason = "a test on real sockets lives in real time"
)]

mod calls;
mod links;
mod security;
mod speed;
mod world;
