//! What a message is to its recipient, whichever connection brought it.
//!
//! A client that lost its connection before the ack came says on the next one what it said before.
//! The new connection is another holder, so the envelope does not tell; the message does: same
//! sender, recipient, type, id and content.

use std::hash::{DefaultHasher, Hash, Hasher};

use entente_xmpp_core::stanza::{MessageType, Payload, Stanza};

/// Stands for a message: 64 bits of a keyed hash, so that senders can't choose what collides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a message; `key` is the process's own. None for what can't be told from
    /// another one: without stanza id and origin id (XEP-0359), errors, and whatever is no message.
    ///
    /// The sender counts by its bare JID, because the next connection may have another resource;
    /// what comes out of a room by its full one. A delay stamp at the end is no content: a home adds
    /// one to what was stored, and some clients do to what they send again.
    pub fn of(key: u64, stanza: &Stanza) -> Option<Self> {
        let type_ = stanza.message_type()?;
        if type_ == MessageType::Error {
            return None;
        }
        let (from, to) = (stanza.from()?, stanza.to()?);
        let content = without_delay(stanza);
        let id = stanza.id().filter(|id| !id.is_empty());
        if id.is_none() && !has_origin_id(content) {
            return None;
        }
        let room = type_ == MessageType::Groupchat || stanza.payload(Payload::MucUser);
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        type_.hash(&mut hasher);
        id.hash(&mut hasher);
        let sender = if room { from.as_str() } else { from.bare_str() };
        sender.hash(&mut hasher);
        to.as_str().hash(&mut hasher);
        content.hash(&mut hasher);
        Some(Self(hasher.finish()))
    }
}

fn has_origin_id(content: &[u8]) -> bool {
    const NAME: &[u8] = b"<origin-id";
    content.windows(NAME.len()).any(|part| part == NAME)
}

/// The content before delay stamps that stand at its end as empty elements.
fn without_delay(stanza: &Stanza) -> &[u8] {
    let mut content = stanza.content();
    if !stanza.payload(Payload::Delay) {
        return content;
    }
    while let Some(at) = content.iter().rposition(|&byte| byte == b'<')
        && content[at..].starts_with(b"<delay ")
        && content.ends_with(b"/>")
    {
        content = &content[..at];
    }
    content
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use entente_xmpp_core::element::Element;
    use entente_xmpp_core::ns;

    use super::*;

    fn of(xml: &str) -> Option<Fingerprint> {
        Fingerprint::of(1, &stanza(xml))
    }

    fn stanza(xml: &str) -> Stanza {
        Stanza::parse(Bytes::copy_from_slice(xml.as_bytes())).unwrap()
    }

    #[test]
    fn the_resource_of_the_sender_and_a_delay_stamp_make_no_difference() {
        let first = "<message from='a@x/1' to='b@x' id='7'><body>hi</body></message>";
        let again = "<message id='7' from='a@x/2' to='b@x'><body>hi</body></message>";
        assert!(of(first).is_some());
        assert_eq!(of(first), of(again));
        let delay = Element::new(ns::DELAY, "delay").attr("stamp", "2020-01-01T00:00:00Z");
        let stored = stanza(first).with_child(&delay).with_child(&delay);
        assert_eq!(Fingerprint::of(1, &stored), of(first));
        assert_ne!(Fingerprint::of(2, &stanza(first)), of(first));
    }

    #[test]
    fn everything_else_does() {
        let all = [
            "<message from='a@x/1' to='b@x' id='7'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id='8'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id='7'><body>ho</body></message>",
            "<message from='c@x/1' to='b@x' id='7'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x/1' id='7'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id='7' type='chat'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id='7' type='groupchat'><body>hi</body></message>",
            "<message from='a@x/2' to='b@x' id='7' type='groupchat'><body>hi</body></message>",
            "<message from='a@x' to='b@x'><body>hi</body><origin-id xmlns='urn:xmpp:sid:0' id='7'/></message>",
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(of(one).is_some(), "{one}");
            assert!(all[..n].iter().all(|other| of(other) != of(one)), "{one}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_has_none() {
        for xml in [
            "<message from='a@x/1' to='b@x'><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id=''><body>hi</body></message>",
            "<message from='a@x/1' to='b@x' id='7' type='error'/>",
            "<iq from='a@x/1' to='b@x' id='7' type='result'/>",
        ] {
            assert_eq!(of(xml), None, "{xml}");
        }
    }
}
