//! Which node is the home of a user: rendezvous hashing (highest random weight).
//!
//! Every node computes the same answer from the same members, with no table to agree on, and when
//! a member goes, only its users move, evenly over the rest. The hash is written here and not
//! taken from a library, because its values are part of the protocol between nodes: two versions
//! of the program in one cluster must agree. The golden vectors in the tests pin it.

use crate::view::Member;

/// Odd constants with bits that look random: the fractional parts of the golden ratio and of the
/// square roots of 2, 3 and 5.
const PHI: u64 = 0x9e37_79b9_7f4a_7c15;
const ROOT_2: u64 = 0x6a09_e667_f3bc_c909;
const ROOT_3: u64 = 0xbb67_ae85_84ca_a73b;
const ROOT_5: u64 = 0x3c6e_f372_fe94_f82b;

/// Multiplies to 128 bits and folds the halves together: one multiplication mixes every input bit
/// into the middle bits, the fold brings them to both ends.
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A bijection of 64 bits in which every input bit changes about half of the output bits.
const fn mix(mut x: u64) -> u64 {
    x ^= x >> 32;
    x = x.wrapping_mul(PHI);
    x ^= x >> 29;
    x = x.wrapping_mul(ROOT_3);
    x ^= x >> 32;
    x
}

/// The stable hash of a key (a bare JID in canonical form): the same on every node and in every
/// version of the program.
///
/// Not keyed: somebody who chooses user names can put many of them on one node, as anybody can who
/// is allowed to create thousands of accounts.
#[must_use]
pub fn key_hash(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let mut hash = ROOT_5 ^ (bytes.len() as u64).wrapping_mul(PHI);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = step(hash, u64::from_le_bytes(word));
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = step(hash, u64::from_le_bytes(word));
    }
    mix(hash)
}

/// Takes in eight bytes. The rotated addend keeps the old state alive even where the word happens
/// to make one factor of the multiplication zero.
const fn step(hash: u64, word: u64) -> u64 {
    fold(hash ^ word ^ ROOT_2, ROOT_3).wrapping_add(hash.rotate_left(23))
}

/// The candidates for a choice, with what can be computed before the key is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// For each candidate its seed and its index in the members.
    seats: Box<[(u64, u32)]>,
}

impl Placement {
    /// Prepares the choice among those members for which `eligible` holds.
    pub(crate) fn over(members: &[Member], eligible: impl Fn(&Member) -> bool) -> Self {
        let seats = members
            .iter()
            .zip(0_u32..)
            .filter(|(member, _)| eligible(member))
            .map(|(member, index)| (key_hash(member.id.as_str()), index))
            .collect();
        Self { seats }
    }

    /// The index of the member with the highest weight for the key; none without candidates.
    ///
    /// The weight is `mix(seed ^ hash)`: a bijection of the key's hash for each member, so weights
    /// are uniform, and the seeds of different members give unrelated orders. Equal weights (never
    /// within one bijection, 1 in 2^64 between members) go to the name that sorts first.
    pub(crate) fn pick(&self, hash: u64) -> Option<usize> {
        let mut best: Option<(u64, u32)> = None;
        for &(seed, index) in &self.seats {
            let weight = mix(seed ^ hash);
            if best.is_none_or(|(heaviest, _)| weight > heaviest) {
                best = Some((weight, index));
            }
        }
        best.map(|(_, index)| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_id::NodeId;
    use crate::view::{ClusterView, MemberState, Roles, Standing};

    fn cluster(names: impl Iterator<Item = usize>) -> ClusterView {
        let members = names
            .map(|n| Member {
                id: NodeId::new(&format!("node-{n}")).unwrap(),
                generation: 1,
                roles: Roles::HOME,
                state: MemberState::Ready,
                standing: Standing::Serving,
                mesh: ([127, 0, 0, 1], 1).into(),
                public: Vec::new(),
                private: Vec::new(),
                host: String::new(),
                started: 0,
                announcement: String::new(),
            })
            .collect();
        ClusterView::new(1, NodeId::new("node-0").unwrap(), members, false)
    }

    fn users(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|n| format!("user{n}@example.com"))
    }

    fn loads(view: &ClusterView, count: usize) -> Vec<usize> {
        let mut loads = vec![0_usize; view.members.len()];
        for user in users(count) {
            let home = view.home_of(&user).unwrap();
            let index = view.members.binary_search_by(|m| m.id.cmp(home)).unwrap();
            loads[index] += 1;
        }
        loads
    }

    #[test]
    fn users_spread_evenly() {
        for nodes in 3..=50 {
            let loads = loads(&cluster(0..nodes), 100_000);
            let largest = *loads.iter().max().unwrap() as f64;
            let mean = 100_000.0 / nodes as f64;
            assert!(largest / mean < 1.1, "{nodes} nodes: {loads:?}");
        }
    }

    #[test]
    fn only_the_users_of_a_dead_node_move_and_they_spread_over_the_rest() {
        for nodes in [3, 4, 10] {
            let before = cluster(0..nodes);
            let after = cluster((0..nodes).filter(|n| *n != 1));
            let dead = NodeId::new("node-1").unwrap();
            let mut moved_to = std::collections::BTreeMap::<NodeId, usize>::new();
            for user in users(50_000) {
                let (old, new) = (
                    before.home_of(&user).unwrap(),
                    after.home_of(&user).unwrap(),
                );
                if *old == dead {
                    *moved_to.entry(new.clone()).or_default() += 1;
                } else {
                    assert_eq!(old, new, "{user}");
                }
            }
            let moved: usize = moved_to.values().sum();
            let mean = moved as f64 / (nodes - 1) as f64;
            assert_eq!(moved_to.len(), nodes - 1);
            for (node, share) in moved_to {
                assert!(
                    (share as f64 / mean - 1.0).abs() < 0.1,
                    "{node}: {share} of {moved}"
                );
            }
        }
    }

    #[test]
    fn on_a_join_users_move_only_to_the_new_node_and_not_too_many() {
        for nodes in [1, 2, 3, 9] {
            let before = cluster(0..nodes);
            let after = cluster(0..=nodes);
            let new = NodeId::new(&format!("node-{nodes}")).unwrap();
            let mut moved = 0;
            for user in users(50_000) {
                let (old, home) = (
                    before.home_of(&user).unwrap(),
                    after.home_of(&user).unwrap(),
                );
                if old != home {
                    assert_eq!(*home, new, "{user}");
                    moved += 1;
                }
            }
            let share = f64::from(moved) / 50_000.0;
            let fair = 1.0 / (nodes + 1) as f64;
            assert!(
                share < fair * 1.1 && share > fair * 0.9,
                "{nodes} nodes: {share}"
            );
        }
    }

    /// Changing any of these values moves the users of a mixed-version cluster: don't.
    #[test]
    fn golden_vectors() {
        let hashes = [
            ("", 0x3ec1_7240_1d7e_e8f3_u64),
            ("a", 0x0912_6a49_3668_2d95),
            ("juliet@example.com", 0x14a8_6aa6_adc6_89d5),
            ("romeo@example.net", 0x3fa1_7250_c735_4f04),
            ("12345678", 0x24cc_4836_5485_2413),
            ("123456789", 0xd8ce_1aa9_542b_6279),
            ("\u{fc}ser@b\u{fc}cher.example", 0x35c8_1c00_a8cc_d3ed),
        ];
        for (key, hash) in hashes {
            assert_eq!(
                key_hash(key),
                hash,
                "{key:?} is now {:#018x}",
                key_hash(key)
            );
        }
        let view = cluster(0..5);
        let homes = [
            "user0", "user1", "user2", "user3", "user4", "user5", "user6", "user7",
        ]
        .map(|u| {
            view.home_of(&format!("{u}@example.com"))
                .unwrap()
                .to_string()
        });
        assert_eq!(
            homes,
            [
                "node-0", "node-4", "node-2", "node-4", "node-0", "node-1", "node-0", "node-1"
            ]
        );
    }

    #[test]
    fn keys_that_differ_in_one_bit_or_in_length_differ_in_half_of_the_hash() {
        let base = b"juliet@capulet.example".to_vec();
        let mut flipped_bits = 0;
        let mut pairs = 0;
        for index in 0..base.len() {
            for bit in 0..7 {
                let mut other = base.clone();
                other[index] ^= 1 << bit;
                let (a, b) = (
                    str::from_utf8(&base).unwrap(),
                    str::from_utf8(&other).unwrap(),
                );
                flipped_bits += (key_hash(a) ^ key_hash(b)).count_ones();
                pairs += 1;
            }
        }
        let mean = f64::from(flipped_bits) / f64::from(pairs);
        assert!((30.0..34.0).contains(&mean), "{mean}");
        assert_ne!(key_hash("a"), key_hash("a\0"));
        assert_ne!(key_hash(""), key_hash("\0"));
    }
}
