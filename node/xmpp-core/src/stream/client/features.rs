//! The features that clients are offered (RFC 6120 section 4.3.2).

use super::shared::Shared;
use crate::sasl::{ChannelBindings, Mechanism};

/// The mechanisms to offer on this stream now.
pub(super) fn mechanisms(shared: &Shared) -> impl Iterator<Item = Mechanism> + '_ {
    let tls = shared.tls.as_ref();
    let bindable = tls.is_some_and(|tls| tls.bindings.is_available());
    let allowed = tls.is_some() || !shared.config.require_tls;
    shared
        .config
        .mechanisms
        .iter()
        .copied()
        .filter(move |mechanism| {
            allowed
                && (bindable || !mechanism.is_plus())
                && (tls.is_some() || *mechanism != Mechanism::Plain)
        })
}

/// Whether any -PLUS mechanism is offered; decides what `y` in a client's GS2 header means.
pub(super) fn offers_plus(shared: &Shared) -> bool {
    mechanisms(shared).any(Mechanism::is_plus)
}

pub(super) fn put_before_authentication(shared: &mut Shared) {
    let mut features = String::from("<stream:features>");
    if shared.tls.is_none() {
        features.push_str("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>");
        if shared.config.require_tls {
            features.push_str("<required/>");
        }
        features.push_str("</starttls>");
    }
    let mechanisms: Vec<_> = mechanisms(shared).collect();
    // COMPAT: an empty list of mechanisms makes some clients give up before STARTTLS.
    if !mechanisms.is_empty() {
        features.push_str("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
        for mechanism in mechanisms {
            features.push_str("<mechanism>");
            features.push_str(mechanism.name());
            features.push_str("</mechanism>");
        }
        features.push_str("</mechanisms>");
        if offers_plus(shared)
            && let Some(tls) = &shared.tls
        {
            push_channel_bindings(&mut features, &tls.bindings);
        }
    }
    push_limits(
        &mut features,
        shared.config.limits_unauthenticated.bytes,
        shared.config.authentication_timeout.as_secs(),
    );
    features.push_str("</stream:features>");
    shared.wire.put(&features);
}

pub(super) fn put_after_authentication(shared: &mut Shared) {
    let mut features = String::from(
        "<stream:features>\
         <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
         <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
         <sm xmlns='urn:xmpp:sm:3'/>\
         <ver xmlns='urn:xmpp:features:rosterver'/>\
         <sub xmlns='urn:xmpp:features:pre-approval'/>",
    );
    push_limits(
        &mut features,
        shared.config.limits.bytes,
        shared.config.idle_timeout.as_secs(),
    );
    features.push_str("</stream:features>");
    shared.wire.put(&features);
}

/// XEP-0440.
fn push_channel_bindings(features: &mut String, bindings: &ChannelBindings) {
    features.push_str("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>");
    for binding in bindings.types() {
        features.push_str("<channel-binding type='");
        features.push_str(binding.name());
        features.push_str("'/>");
    }
    features.push_str("</sasl-channel-binding>");
}

/// XEP-0478.
fn push_limits(features: &mut String, bytes: usize, idle_seconds: u64) {
    use std::fmt::Write as _;
    // Writing into a String cannot fail.
    let _ = write!(
        features,
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{bytes}</max-bytes>\
         <idle-seconds>{idle_seconds}</idle-seconds></limits>"
    );
}
