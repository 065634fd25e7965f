use std::collections::HashSet;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn channel(name: &str, generation: u64, seed: u8) -> SealedChannel {
    keyed(&KEY, "cluster", name, generation, seed)
}

fn keyed(key: &[u8; 32], cluster: &str, name: &str, generation: u64, seed: u8) -> SealedChannel {
    SealedChannel::new(
        key,
        cluster,
        NodeId::new(name).unwrap(),
        generation,
        [seed; 16],
    )
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

const A: u16 = 1;
const B: u16 = 2;

/// Two channels that know each other.
fn acquainted() -> (SealedChannel, SealedChannel) {
    let (mut a, mut b) = (channel("a", 1, 1), channel("b", 1, 2));
    introduce(&mut a, &mut b);
    (a, b)
}

fn introduce(a: &mut SealedChannel, b: &mut SealedChannel) {
    let first = a.seal(at(B), b"lost").unwrap();
    let Ok(Opened::Answer(hello)) = b.open(at(A), &first) else {
        panic!("a first contact is answered");
    };
    assert_eq!(a.open(at(B), &hello), Ok(Opened::Learned));
    let second = a.seal(at(B), b"heard").unwrap();
    assert_eq!(
        b.open(at(A), &second),
        Ok(Opened::Gossip(b"heard".to_vec()))
    );
}

#[test]
fn after_one_hello_messages_go_both_ways() {
    let (mut a, mut b) = acquainted();
    for message in [&b""[..], b"x", &[0; 5000]] {
        let datagram = b.seal(at(A), message).unwrap();
        assert_eq!(
            a.open(at(B), &datagram),
            Ok(Opened::Gossip(message.to_vec()))
        );
    }
}

#[test]
fn nothing_is_taken_twice_in_any_order() {
    let (mut a, mut b) = acquainted();
    let datagrams: Vec<_> = (0..50).map(|_| a.seal(at(B), b"m").unwrap()).collect();
    for datagram in datagrams.iter().rev() {
        assert!(matches!(b.open(at(A), datagram), Ok(Opened::Gossip(_))));
    }
    for datagram in &datagrams {
        assert_eq!(b.open(at(A), datagram), Err(DropReason::Replayed));
    }
    // Also from another address.
    assert_eq!(b.open(at(99), &datagrams[3]), Err(DropReason::Replayed));
}

#[test]
fn what_was_meant_for_an_earlier_start_is_not_taken_after_a_restart() {
    let (mut a, mut b) = acquainted();
    let kept = a.seal(at(B), b"old news").unwrap();
    assert!(b.open(at(A), &kept).is_ok());
    let mut restarted = channel("b", 2, 3);
    // It is answered (the sender might be real), but neither delivered nor learned from.
    assert!(matches!(
        restarted.open(at(A), &kept),
        Ok(Opened::Answer(_))
    ));
    assert!(restarted.senders.is_empty() && restarted.addresses.is_empty());
    // The real sender recovers with the hello.
    introduce(&mut a, &mut restarted);
}

#[test]
fn a_replayed_hello_teaches_nothing() {
    let (mut a, mut b) = (channel("a", 1, 1), channel("b", 1, 2));
    let first = a.seal(at(B), b"").unwrap();
    let Ok(Opened::Answer(hello)) = b.open(at(A), &first) else {
        panic!("a first contact is answered");
    };
    let mut later = channel("a", 2, 4);
    assert_eq!(later.open(at(B), &hello), Err(DropReason::Unaddressed));
    assert_eq!(a.open(at(B), &hello), Ok(Opened::Learned));
    assert_eq!(a.open(at(66), &hello), Err(DropReason::Replayed));
    assert!(!a.addresses.contains_key(&at(66)));
}

#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    let (mut a, mut b) = acquainted();
    let datagram = a.seal(at(B), b"the quick brown fox").unwrap();
    for index in 0..datagram.len() {
        for bit in [1, 0x80] {
            let mut changed = datagram.clone();
            changed[index] ^= bit;
            let outcome = b.open(at(A), &changed);
            assert!(outcome.is_err(), "byte {index}: {outcome:?}");
        }
        assert!(b.open(at(A), &datagram[..index]).is_err(), "cut at {index}");
    }
    assert!(matches!(b.open(at(A), &datagram), Ok(Opened::Gossip(_))));
}

#[test]
fn another_key_and_another_cluster_are_unauthentic() {
    let (_, mut b) = acquainted();
    for mut stranger in [
        keyed(&[8; 32], "cluster", "c", 1, 5),
        keyed(&KEY, "clusteR", "c", 1, 5),
        keyed(&KEY, "", "c", 1, 5),
    ] {
        let datagram = stranger.seal(at(B), b"let me in").unwrap();
        assert_eq!(b.open(at(3), &datagram), Err(DropReason::Unauthentic));
    }
}

#[test]
fn a_newer_start_replaces_the_older_and_the_older_is_heard_no_more() {
    let (mut a, mut b) = acquainted();
    let mut newer = channel("a", 2, 6);
    introduce(&mut newer, &mut b);
    let echo = a.seal(at(B), b"").unwrap();
    assert_eq!(b.open(at(A), &echo), Err(DropReason::Superseded));
    let mut twin = channel("a", 2, 7);
    let datagram = twin.seal(at(B), b"").unwrap();
    assert_eq!(b.open(at(A), &datagram), Err(DropReason::DuplicateIdentity));
}

#[test]
fn our_own_name_is_ours() {
    let mut a = channel("a", 5, 1);
    let own = a.seal(at(A), b"").unwrap();
    assert_eq!(a.open(at(A), &own), Err(DropReason::DuplicateIdentity));
    let old = channel("a", 4, 2).seal(at(A), b"").unwrap();
    assert_eq!(a.open(at(B), &old), Err(DropReason::Superseded));
}

#[test]
fn an_attacker_without_the_key_changes_no_state() {
    let (_, mut b) = acquainted();
    let before = b.addresses.clone();
    let mut random = 1_u64;
    for round in 0..20_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut garbage: Vec<u8> = random
            .to_le_bytes()
            .iter()
            .cycle()
            .take((random % 200) as usize)
            .copied()
            .collect();
        if round % 2 == 0 && garbage.len() > FIXED + 2 {
            garbage[0] = VERSION;
            garbage[1] = KIND_GOSSIP;
            garbage[FIXED - 1] = 1;
            garbage[FIXED] = b'z';
        }
        assert!(b.open(at(A), &garbage).is_err());
    }
    assert_eq!(b.addresses, before);
    assert_eq!(b.senders.len(), 1);
}

#[test]
fn sizes_are_bounded() {
    let (mut a, mut b) = acquainted();
    let room = MAX_DATAGRAM - FIXED - 1 - MAX_TAG_LEN;
    let largest = a.seal(at(B), &vec![1; room]).unwrap();
    assert_eq!(largest.len(), MAX_DATAGRAM);
    assert!(matches!(b.open(at(A), &largest), Ok(Opened::Gossip(m)) if m.len() == room));
    assert_eq!(
        a.seal(at(B), &vec![1; room + 1]),
        Err(DropReason::NotSendable)
    );
}

#[test]
fn known_addresses_are_bounded() {
    let (mut a, mut b) = acquainted();
    for port in 0..(MAX_PEERS as u16 + 100) {
        let datagram = a.seal(at(B), b"").unwrap();
        assert!(b.open(at(1000 + port), &datagram).is_ok());
    }
    assert_eq!(b.addresses.len(), MAX_PEERS);
}

#[test]
fn the_window_agrees_with_a_set() {
    for seed in 1..50_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut window = ReplayWindow::default();
        let mut taken = HashSet::new();
        let mut highest = 0_u64;
        for _ in 0..5_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let jump = if random.is_multiple_of(97) {
                5_000
            } else {
                1_500
            };
            let counter = (highest + 20).saturating_sub((random >> 8) % jump).max(1);
            let expected =
                highest.saturating_sub(counter) < ReplayWindow::SIZE && !taken.contains(&counter);
            assert_eq!(
                window.take(counter),
                expected,
                "seed {seed}, {counter} of {highest}"
            );
            taken.insert(counter);
            highest = highest.max(counter);
        }
    }
}

#[test]
fn the_end_of_the_counter_stops_the_sender() {
    let (mut a, _) = acquainted();
    a.counter = u64::MAX - 1;
    assert!(a.seal(at(B), b"").is_ok());
    assert_eq!(a.seal(at(B), b""), Err(DropReason::NotSendable));
    let mut window = ReplayWindow::default();
    assert!(window.take(u64::MAX) && !window.take(u64::MAX) && !window.take(1));
}

#[test]
fn the_fuzzing_entry_holds_for_random_bytes() {
    let mut random = 3_u64;
    for len in 0..400 {
        let mut data = vec![0; len];
        for byte in &mut data {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *byte = random as u8;
        }
        fuzz(&data);
        fuzz(&vec![0; len]);
    }
}
