//! Messages that a client sends again: it lost its connection before the ack came and says on the
//! next one what it said before. The new connection is another holder, so that the envelope does not
//! tell; the message does.
//!
//! A message is taken for the same only if sender, recipient, stanza id and content are the same and
//! another connection of the same user brought it a short time ago. One connection may repeat itself
//! as it likes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use entente_xmpp_core::stanza::{MessageType, Stanza};
use hashbrown::HashMap;

use crate::contract::EnvelopeId;

/// Most messages remembered per shard.
const CAPACITY: usize = 1 << 15;
/// How long a message is remembered: clients that wait longer have mostly given up.
const MEMORY: Duration = Duration::from_secs(120);

/// The messages that came lately.
#[derive(Debug)]
pub(crate) struct Resends {
    /// Keeps senders from choosing what collides.
    seed: u64,
    known: HashMap<u64, EnvelopeId>,
    order: VecDeque<(Instant, u64)>,
}

impl Resends {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The envelope in which another connection brought this message before, if one did; else the
    /// message is remembered.
    pub(crate) fn meet(
        &mut self,
        now: Instant,
        envelope: &EnvelopeId,
        stanza: &Stanza,
    ) -> Option<EnvelopeId> {
        let key = self.key(stanza)?;
        while let Some((at, old)) = self.order.front()
            && (now.saturating_duration_since(*at) > MEMORY || self.order.len() >= CAPACITY)
        {
            self.known.remove(old);
            self.order.pop_front();
        }
        match self.known.get(&key) {
            Some(first) if first.holder != envelope.holder => Some(first.clone()),
            _ => {
                self.remember(now, key, envelope);
                None
            }
        }
    }

    /// The earlier envelope came to nothing: this one counts.
    pub(crate) fn replace(&mut self, now: Instant, envelope: &EnvelopeId, stanza: &Stanza) {
        if let Some(key) = self.key(stanza) {
            self.remember(now, key, envelope);
        }
    }

    fn remember(&mut self, now: Instant, key: u64, envelope: &EnvelopeId) {
        // A key that is remembered again leaves with its first place: early, which only means that
        // a repetition would count as new.
        self.known.insert(key, envelope.clone());
        self.order.push_back((now, key));
    }

    /// Sender, recipient, id and content; none for what has no id.
    fn key(&self, stanza: &Stanza) -> Option<u64> {
        if stanza.message_type()? == MessageType::Error {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        stanza.id().filter(|id| !id.is_empty())?.hash(&mut hasher);
        stanza.from()?.bare_str().hash(&mut hasher);
        stanza.to()?.as_str().hash(&mut hasher);
        content(stanza.bytes()).hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// What is behind the first tag, whose attributes may differ in the resource of the sender.
fn content(bytes: &[u8]) -> &[u8] {
    let mut quote = None;
    let end = bytes.iter().position(|&byte| {
        match (byte, quote) {
            (b'"' | b'\'', None) => quote = Some(byte),
            (b'>', None) => return true,
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
        false
    });
    end.map_or(&[], |end| &bytes[end..])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::contract::SessionKey;

    fn envelope(conn: u64, seq: u64) -> EnvelopeId {
        let holder = SessionKey {
            edge: "n1".into(),
            epoch: 1,
            conn,
        };
        EnvelopeId::new(holder, seq)
    }

    fn message(from: &str, id: &str, body: &str) -> Stanza {
        let text = format!("<message from='{from}' to='b@x' id='{id}' x='a>b'>{body}</message>");
        Stanza::parse(Bytes::from(text)).expect("a message")
    }

    #[expect(clippy::disallowed_methods, reason = "any fixed instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_same_on_another_connection_is_known_and_everything_else_is_not() {
        let now = start();
        let mut resends = Resends::new(1);
        let first = message("a@x/1", "7", "hi");
        assert_eq!(resends.meet(now, &envelope(1, 1), &first), None);
        assert_eq!(resends.meet(now, &envelope(1, 2), &first), None, "its own");
        assert_eq!(
            resends.meet(now, &envelope(2, 1), &message("a@x/2", "7", "hi")),
            Some(envelope(1, 2)),
            "the resource may be another one"
        );
        for other in [
            message("a@x/1", "8", "hi"),
            message("a@x/1", "7", "ho"),
            message("c@x/1", "7", "hi"),
            message("a@x/1", "", "hi"),
        ] {
            assert_eq!(resends.meet(now, &envelope(2, 2), &other), None);
        }
        let later = now + MEMORY + Duration::from_secs(1);
        assert_eq!(resends.meet(later, &envelope(3, 1), &first), None);
    }

    #[test]
    fn memory_is_bounded() {
        let now = start();
        let mut resends = Resends::new(1);
        for n in 0..CAPACITY as u64 + 100 {
            resends.meet(now, &envelope(1, n), &message("a@x/1", &n.to_string(), ""));
        }
        assert_eq!(
            (resends.known.len(), resends.order.len()),
            (CAPACITY, CAPACITY)
        );
    }
}
