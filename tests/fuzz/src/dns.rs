//! What must hold for any datagram that reaches the name server. The seeded mutations of
//! `dns-publisher/src/fuzzing.rs` feed the same target.

use std::sync::LazyLock;

use entente_dns_publisher::fuzzing::Target;

static TARGET: LazyLock<Target> = LazyLock::new(Target::new);

/// One message over UDP and over TCP: answered in form and size, or not at all.
pub fn message(data: &[u8]) {
    TARGET.feed(data);
}
