//! The features that other servers are offered.

use super::Shared;
use super::greeting::Peer;
use crate::stream::TlsPolicy;

/// Writes the features for this peer on the stream as it is now.
///
/// COMPAT Prosody: it closes a stream whose features offer nothing to go on with; dialback or
/// STARTTLS is always there unless policy forbids both.
pub(super) fn put(shared: &mut Shared, peer: &Peer) {
    use std::fmt::Write as _;
    let config = &shared.config;
    let authenticated = !shared.pairs.is_empty();
    let mut features = String::from("<stream:features>");
    if !shared.tls && peer.tls != TlsPolicy::None {
        features.push_str("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>");
        if peer.tls == TlsPolicy::Required {
            features.push_str("<required/>");
        }
        features.push_str("</starttls>");
    }
    if !authenticated && peer.external {
        features.push_str(
            "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
             <mechanism>EXTERNAL</mechanism></mechanisms>",
        );
    }
    let secure_enough = shared.tls || peer.tls != TlsPolicy::Required;
    if !authenticated && secure_enough {
        if peer.dialback {
            features.push_str("<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>");
        }
        // XEP-0288 section 2.1: after TLS, before authentication.
        if config.bidi && shared.tls {
            features.push_str("<bidi xmlns='urn:xmpp:features:bidi'/>");
        }
    }
    if config.sm && secure_enough {
        features.push_str("<sm xmlns='urn:xmpp:sm:3'/>");
    }
    // What holds for stanzas: dialback authenticates without new features that could correct it.
    // Writing into a String cannot fail.
    let _ = write!(
        features,
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{}</max-bytes>\
         <idle-seconds>{}</idle-seconds></limits></stream:features>",
        config.limits.bytes,
        config.idle_timeout.as_secs()
    );
    shared.wire.put(&features);
}
