//! Sealed gossip datagrams: who has no cluster key can neither read, forge, change nor replay one.
//!
//! ```text
//! version 1 | kind 1 | incarnation 16 | generation 8 | counter 8 | echo 16 | length 1 | name | sealed
//! ```
//! Everything before `sealed` is authenticated with it. Each start of a node (its *incarnation*,
//! 16 random bytes) seals with a key of its own, derived from the cluster key, the cluster's name
//! and the sender's identity; the nonce is the counter. So no nonce is ever used twice with one
//! key, whatever happens to files and clocks.
//!
//! Replays: a datagram names in `echo` the incarnation that it is meant for, and a receiver takes
//! only what is meant for its present one, each counter once. So nothing from before its start is
//! ever taken, and there is nothing to keep on disk and no clock to compare. A sender that does not
//! know the receiver's incarnation yet sends zeros and gets a *hello* back, which counts only if it
//! echoes the sender's own incarnation. The lost datagram is gossip's next round.

use std::collections::HashMap;
use std::net::SocketAddr;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

use crate::node_id::NodeId;

const VERSION: u8 = 1;
const KIND_GOSSIP: u8 = 0;
const KIND_HELLO: u8 = 1;
/// Header bytes up to the name.
const FIXED: usize = 1 + 1 + 16 + 8 + 8 + 16 + 1;
const NOBODY: Incarnation = [0; 16];

/// The largest UDP payload.
pub(super) const MAX_DATAGRAM: usize = 65_507;
/// Bound on known senders and on known addresses: far above any real cluster.
const MAX_PEERS: usize = 1024;

/// Identifies one start of one node.
pub(super) type Incarnation = [u8; 16];

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum DropReason {
    /// Too short, an unknown version or kind, or no valid node name.
    #[error("malformed")]
    Malformed,
    /// It does not open with the cluster's key: another key, another cluster, or changed bytes.
    #[error("unauthentic")]
    Unauthentic,
    /// It was meant for nobody yet or for an earlier start of this node: a first contact, or a
    /// replay from before the start.
    #[error("unaddressed")]
    Unaddressed,
    /// It has been taken already, or is too old to tell.
    #[error("replayed")]
    Replayed,
    /// Its sender has been replaced by a newer start of the same node.
    #[error("superseded")]
    Superseded,
    /// Two running nodes have the same name and generation, or it is an echo of our own.
    #[error("duplicate identity")]
    DuplicateIdentity,
    /// There are too many senders.
    #[error("too many peers")]
    TooManyPeers,
    /// An outgoing message was too large, or the local hop to the codec failed.
    #[error("not sendable")]
    NotSendable,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Unauthentic,
        Self::Unaddressed,
        Self::Replayed,
        Self::Superseded,
        Self::DuplicateIdentity,
        Self::TooManyPeers,
        Self::NotSendable,
    ];

    /// A short name for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthentic => "unauthentic",
            Self::Unaddressed => "unaddressed",
            Self::Replayed => "replayed",
            Self::Superseded => "superseded",
            Self::DuplicateIdentity => "duplicate_identity",
            Self::TooManyPeers => "too_many_peers",
            Self::NotSendable => "not_sendable",
        }
    }
}

/// What came out of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A gossip message.
    Gossip(Vec<u8>),
    /// The receiver of our datagrams has introduced itself; nothing to deliver.
    Learned,
    /// Authentic, but its sender does not know us: send this back. Counts as
    /// [`DropReason::Unaddressed`].
    Answer(Vec<u8>),
}

/// Seals and opens the datagrams of one node. No sockets, no clock; randomness comes in once.
pub(super) struct SealedChannel {
    root: Prk,
    cluster_id: String,
    node: NodeId,
    generation: u64,
    incarnation: Incarnation,
    key: LessSafeKey,
    counter: u64,
    senders: HashMap<NodeId, Sender>,
    /// Which incarnation was last heard from an address.
    addresses: HashMap<SocketAddr, Incarnation>,
}

struct Sender {
    generation: u64,
    incarnation: Incarnation,
    key: LessSafeKey,
    window: ReplayWindow,
}

struct Header<'a> {
    kind: u8,
    incarnation: Incarnation,
    generation: u64,
    counter: u64,
    echo: Incarnation,
    name: &'a str,
    len: usize,
}

impl SealedChannel {
    /// Prepares a channel. `incarnation` must be fresh random bytes at every start.
    pub(super) fn new(
        cluster_key: &[u8; 32],
        cluster_id: &str,
        node: NodeId,
        generation: u64,
        incarnation: Incarnation,
    ) -> Self {
        let root = Salt::new(HKDF_SHA256, b"entente gossip 1").extract(cluster_key);
        let key = sender_key(&root, cluster_id, node.as_str(), generation, &incarnation);
        Self {
            root,
            cluster_id: cluster_id.to_owned(),
            node,
            generation,
            incarnation,
            key,
            counter: 0,
            senders: HashMap::new(),
            addresses: HashMap::new(),
        }
    }

    /// Seals a gossip message for whoever is at `to`.
    pub(super) fn seal(&mut self, to: SocketAddr, message: &[u8]) -> Result<Vec<u8>, DropReason> {
        let echo = self.addresses.get(&to).copied().unwrap_or(NOBODY);
        self.seal_as(KIND_GOSSIP, echo, message)
    }

    fn seal_as(
        &mut self,
        kind: u8,
        echo: Incarnation,
        message: &[u8],
    ) -> Result<Vec<u8>, DropReason> {
        let name = self.node.as_str().as_bytes();
        let header_len = FIXED + name.len();
        if header_len + message.len() + MAX_TAG_LEN > MAX_DATAGRAM {
            return Err(DropReason::NotSendable);
        }
        // Never reaches the end at any real rate; if it did, sealing stops instead of repeating.
        self.counter = self.counter.checked_add(1).ok_or(DropReason::NotSendable)?;
        let mut datagram = Vec::with_capacity(header_len + message.len() + MAX_TAG_LEN);
        datagram.extend_from_slice(&[VERSION, kind]);
        datagram.extend_from_slice(&self.incarnation);
        datagram.extend_from_slice(&self.generation.to_be_bytes());
        datagram.extend_from_slice(&self.counter.to_be_bytes());
        datagram.extend_from_slice(&echo);
        let name_len = u8::try_from(name.len()).map_err(|_| DropReason::NotSendable)?;
        datagram.push(name_len);
        datagram.extend_from_slice(name);
        let mut sealed = message.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(self.counter), Aad::from(&datagram), &mut sealed)
            .map_err(|_| DropReason::NotSendable)?;
        datagram.extend_from_slice(&sealed);
        Ok(datagram)
    }

    /// Opens a datagram that came from `from`.
    pub(super) fn open(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<Opened, DropReason> {
        let header = parse(datagram).ok_or(DropReason::Malformed)?;
        let node = NodeId::new(header.name).map_err(|_| DropReason::Malformed)?;
        if header.incarnation == self.incarnation || node == self.node {
            return self.refuse_own_name(&header);
        }
        let known = self.senders.get(&node);
        let same = known.filter(|sender| sender.incarnation == header.incarnation);
        if same.is_none()
            && let Some(sender) = known
        {
            if header.generation < sender.generation {
                return Err(DropReason::Superseded);
            }
            if header.generation == sender.generation {
                return Err(DropReason::DuplicateIdentity);
            }
        }
        let fresh_key = match same {
            Some(_) => None,
            None => Some(sender_key(
                &self.root,
                &self.cluster_id,
                header.name,
                header.generation,
                &header.incarnation,
            )),
        };
        let key = match (&fresh_key, same) {
            (Some(key), _) => key,
            (None, Some(sender)) => &sender.key,
            (None, None) => return Err(DropReason::Unauthentic),
        };
        let (aad, sealed) = datagram.split_at(header.len);
        let mut message = sealed.to_vec();
        let plain_len = key
            .open_in_place(nonce(header.counter), Aad::from(aad), &mut message)
            .map_err(|_| DropReason::Unauthentic)?
            .len();
        message.truncate(plain_len);

        // Authentic from here on. Is it meant for this start of this node?
        if header.echo != self.incarnation {
            // A hello is never answered, so two nodes cannot answer each other for ever.
            if header.kind == KIND_HELLO {
                return Err(DropReason::Unaddressed);
            }
            let hello = self.seal_as(KIND_HELLO, header.incarnation, &[])?;
            return Ok(Opened::Answer(hello));
        }
        if let Some(key) = fresh_key {
            if self.senders.len() >= MAX_PEERS && !self.senders.contains_key(&node) {
                return Err(DropReason::TooManyPeers);
            }
            let sender = Sender {
                generation: header.generation,
                incarnation: header.incarnation,
                key,
                window: ReplayWindow::default(),
            };
            self.senders.insert(node.clone(), sender);
        }
        let sender = self
            .senders
            .get_mut(&node)
            .ok_or(DropReason::TooManyPeers)?;
        if !sender.window.take(header.counter) {
            return Err(DropReason::Replayed);
        }
        self.learn(from, header.incarnation);
        if header.kind == KIND_HELLO {
            Ok(Opened::Learned)
        } else {
            Ok(Opened::Gossip(message))
        }
    }

    /// Nobody else may speak with our name. An earlier start of ours is only an echo.
    fn refuse_own_name(&self, header: &Header<'_>) -> Result<Opened, DropReason> {
        if header.generation < self.generation {
            Err(DropReason::Superseded)
        } else {
            Err(DropReason::DuplicateIdentity)
        }
    }

    fn learn(&mut self, from: SocketAddr, incarnation: Incarnation) {
        if self.addresses.len() >= MAX_PEERS && !self.addresses.contains_key(&from) {
            // Whoever is put out is learned again by one more hello.
            let victim = self.addresses.keys().next().copied();
            if let Some(victim) = victim {
                self.addresses.remove(&victim);
            }
        }
        self.addresses.insert(from, incarnation);
    }
}

/// Reads the header; none if it is not one.
fn parse(datagram: &[u8]) -> Option<Header<'_>> {
    let (fixed, rest) = datagram.split_first_chunk::<FIXED>()?;
    let [version, kind, rest_of_fixed @ ..] = fixed;
    if *version != VERSION || !matches!(*kind, KIND_GOSSIP | KIND_HELLO) {
        return None;
    }
    let (incarnation, tail) = rest_of_fixed.split_first_chunk::<16>()?;
    let (generation, tail) = tail.split_first_chunk::<8>()?;
    let (counter, tail) = tail.split_first_chunk::<8>()?;
    let (echo, tail) = tail.split_first_chunk::<16>()?;
    let name_len = usize::from(*tail.first()?);
    if rest.len() < name_len + MAX_TAG_LEN {
        return None;
    }
    Some(Header {
        kind: *kind,
        incarnation: *incarnation,
        generation: u64::from_be_bytes(*generation),
        counter: u64::from_be_bytes(*counter),
        echo: *echo,
        name: str::from_utf8(&rest[..name_len]).ok()?,
        len: FIXED + name_len,
    })
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The key of one start of one node. The lengths make the concatenation unambiguous.
fn sender_key(
    root: &Prk,
    cluster_id: &str,
    node: &str,
    generation: u64,
    incarnation: &Incarnation,
) -> LessSafeKey {
    let lengths = [cluster_id.len() as u64, node.len() as u64].map(u64::to_be_bytes);
    let generation = generation.to_be_bytes();
    let info = [
        &lengths[0][..],
        &lengths[1],
        cluster_id.as_bytes(),
        node.as_bytes(),
        &generation,
        incarnation,
    ];
    let okm = root
        .expand(&info, &CHACHA20_POLY1305)
        .expect("a 32-byte key is within what HKDF can expand to");
    LessSafeKey::new(UnboundKey::from(okm))
}

/// Which of the last counters have been taken.
#[derive(Default)]
struct ReplayWindow {
    highest: u64,
    /// Bit `c % SIZE` is set if counter `c` within the window has been taken.
    taken: [u64; ReplayWindow::WORDS],
}

impl ReplayWindow {
    const WORDS: usize = 16;
    const SIZE: u64 = 64 * Self::WORDS as u64;

    /// Takes a counter; false if it was taken before or is too far behind.
    fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            // Everything that the window moves over has not been taken yet.
            let steps = (counter - self.highest).min(Self::SIZE);
            for step in 0..steps {
                let (word, bit) = Self::slot(counter - step);
                self.taken[word] &= !bit;
            }
            self.highest = counter;
        } else if self.highest - counter >= Self::SIZE {
            return false;
        }
        let (word, bit) = Self::slot(counter);
        let fresh = self.taken[word] & bit == 0;
        self.taken[word] |= bit;
        fresh
    }

    fn slot(counter: u64) -> (usize, u64) {
        let index = counter % Self::SIZE;
        ((index / 64) as usize, 1 << (index % 64))
    }
}

/// For the fuzzer: `data` as a datagram, and `data` as a change to a good datagram.
pub(crate) fn fuzz(data: &[u8]) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let channel = |name: &str, seed: u8| {
        let node = NodeId::new(name).expect("the fuzzer's names are names");
        SealedChannel::new(&[1; 32], "fuzz", node, 1, [seed; 16])
    };
    let (mut a, mut b) = (channel("a", 1), channel("b", 2));
    assert!(b.open(address, data).is_err(), "taken without the key");
    let Ok(mut datagram) = a.seal(address, b"message") else {
        return;
    };
    let original = datagram.clone();
    for (byte, change) in datagram.iter_mut().zip(data) {
        *byte ^= change;
    }
    let taken = b.open(address, &datagram).is_ok();
    assert_eq!(taken, datagram == original, "a change went unnoticed");
}

#[cfg(test)]
mod tests;
