use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "any fixed instant will do")]
pub(super) fn start() -> Instant {
    Instant::now()
}

fn limits() -> CustodyLimits {
    CustodyLimits {
        max_envelopes: 16,
        max_bytes: 100,
        overdue: Duration::from_secs(5),
        retry_after: Duration::from_millis(100),
    }
}

fn seqs(resends: &[Resend]) -> Vec<u64> {
    resends.iter().map(|resend| resend.seq).collect()
}

fn accept(custody: &mut Custody<u8>, now: Instant, key: &str) -> Accepted {
    custody
        .accept(now, key, Bytes::from_static(b"x"))
        .expect("room")
}

#[test]
fn the_upstream_count_grows_along_the_unbroken_row_only() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    for _ in 0..4 {
        assert!(accept(&mut custody, now, "a@x").send);
    }
    assert!(custody.receipt(2));
    assert_eq!(custody.handled(), 0);
    assert!(custody.receipt(1));
    assert_eq!(custody.handled(), 2);
    assert_eq!(custody.handled(), 0);
    assert!(!custody.receipt(1), "a receipt counts once");
    assert!(!custody.receipt(99), "never given out");
    custody.receipt(4);
    custody.receipt(3);
    assert_eq!(custody.handled(), 2);
    assert_eq!(custody.handled_total(), 4);
    assert_eq!(custody.poll_timeout(), None);
}

#[test]
fn a_moved_home_gets_everything_that_waits_in_order() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    for key in ["a@x", "b@x", "a@x", "b@x", "a@x"] {
        accept(&mut custody, now, key);
    }
    custody.receipt(3);
    let resends = custody.view_changed(now, |key| key == "a@x");
    assert_eq!(seqs(&resends), [1, 5]);
    assert_eq!(resends[0].attempts, 1);
    assert!(custody.view_changed(now, |_| false).is_empty());
}

#[test]
fn a_refused_envelope_holds_back_what_follows_with_its_key() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    accept(&mut custody, now, "a@x");
    accept(&mut custody, now, "a@x");
    assert!(custody.retry(now, 1));
    let third = accept(&mut custody, now, "a@x");
    assert!(!third.send);
    assert!(accept(&mut custody, now, "b@x").send);
    assert!(custody.overdue(now + Duration::from_millis(99)).is_empty());
    let later = now + Duration::from_millis(100);
    assert_eq!(custody.poll_timeout(), Some(later));
    assert_eq!(seqs(&custody.overdue(later)), [1, 2, 3]);
    assert!(accept(&mut custody, later, "a@x").send);
}

fn chained(custody: &mut Custody<u8>, now: Instant, chain: &str) -> Accepted {
    custody
        .accept_chained(now, "a@x", Some(chain), Bytes::from_static(b"x"))
        .expect("room")
}

#[test]
fn an_envelope_names_the_one_before_it_in_its_chain_that_waits() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    let after: Vec<_> = ["b@x", "c@x", "b@x", "c@x", "b@x"]
        .into_iter()
        .map(|chain| chained(&mut custody, now, chain).after)
        .collect();
    assert_eq!(after, [None, None, Some(1), Some(2), Some(3)]);
    // The newest of a chain may get its receipt before an older one does.
    custody.receipt(5);
    assert_eq!(chained(&mut custody, now, "b@x").after, Some(3));
    custody.receipt(3);
    let resends = custody.view_changed(now, |_| true);
    let after: Vec<_> = resends.iter().map(|r| (r.seq, r.after)).collect();
    assert_eq!(
        after,
        [(1, None), (2, None), (4, Some(2)), (6, Some(1))],
        "receipts that came meanwhile count"
    );
    for seq in [1, 6] {
        custody.receipt(seq);
    }
    assert_eq!(chained(&mut custody, now, "b@x").after, None);
    for seq in [2, 4, 7] {
        custody.receipt(seq);
    }
    assert!(custody.chains.is_empty());
}

#[test]
fn a_refusal_brings_what_waits_before_it_in_its_chain_too() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    for chain in ["c@x", "b@x", "c@x", "b@x"] {
        chained(&mut custody, now, chain);
    }
    // The second one was lost on its way, so the last one was refused.
    assert!(custody.retry(now, 4));
    let later = now + Duration::from_millis(100);
    assert_eq!(seqs(&custody.overdue(later)), [2, 3, 4]);
}

#[test]
fn a_view_change_ends_the_pause_after_a_refusal() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    accept(&mut custody, now, "a@x");
    custody.retry(now, 1);
    assert_eq!(seqs(&custody.view_changed(now, |_| false)), [1]);
    assert!(custody.overdue(now + Duration::from_millis(200)).is_empty());
}

#[test]
fn overdue_waits_double() {
    let now = start();
    let second = Duration::from_secs(1);
    let mut custody = Custody::new(1, limits());
    accept(&mut custody, now, "a@x");
    assert!(custody.overdue(now + 4 * second).is_empty());
    assert_eq!(custody.overdue(now + 5 * second)[0].attempts, 1);
    assert!(custody.overdue(now + 14 * second).is_empty());
    assert_eq!(custody.overdue(now + 15 * second)[0].attempts, 2);
}

#[test]
fn full_by_number_and_by_bytes() {
    let now = start();
    let mut custody = Custody::new(1, limits());
    let large = Bytes::from(vec![0; 1000]);
    assert!(custody.accept(now, "a@x", large).is_ok());
    assert!(custody.is_full());
    assert_eq!(custody.accept(now, "a@x", Bytes::new()), Err(CustodyFull));
    custody.receipt(1);
    for _ in 0..16 {
        accept(&mut custody, now, "a@x");
    }
    // Receipts behind the oldest one make no room: they still have to be remembered.
    custody.receipt(10);
    assert!(custody.is_full());
    custody.receipt(2);
    assert!(!custody.is_full());
}

#[derive(Debug, Clone)]
enum Step {
    Accept(u8),
    Receipt(u64),
    Retry(u64),
    Move(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Accept),
        3 => (0u64..60).prop_map(Step::Receipt),
        1 => (0u64..60).prop_map(Step::Retry),
        1 => (0u8..3).prop_map(Step::Move),
        1 => (0u64..8000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: no number is lost or told twice, the row is unbroken, the bounds hold,
    /// and envelopes of a key come out in order.
    #[test]
    fn nothing_is_lost(steps in prop::collection::vec(step(), 1..300)) {
        let mut now = start();
        let mut custody = Custody::new(1u8, limits());
        let mut pending: BTreeMap<u64, String> = BTreeMap::new();
        let mut sent: BTreeSet<u64> = BTreeSet::new();
        let mut told = 0;
        let mut accepted = 0;
        for step in steps {
            let mut out = Vec::new();
            match step {
                Step::Accept(key) => {
                    let key = format!("{key}@x");
                    let full = custody.is_full();
                    match custody.accept(now, &key, Bytes::from_static(b"0123456789")) {
                        Ok(new) => {
                            prop_assert!(!full);
                            accepted += 1;
                            prop_assert_eq!(new.seq, accepted);
                            if new.send {
                                // Nothing of this key may wait unsent before it.
                                for (seq, other) in &pending {
                                    prop_assert!(*other != key || sent.contains(seq));
                                }
                                sent.insert(new.seq);
                            }
                            pending.insert(new.seq, key);
                        }
                        Err(CustodyFull) => prop_assert!(full),
                    }
                }
                Step::Receipt(seq) => {
                    prop_assert_eq!(custody.receipt(seq), pending.remove(&seq).is_some());
                }
                Step::Retry(seq) => {
                    prop_assert_eq!(custody.retry(now, seq), pending.contains_key(&seq));
                }
                Step::Move(key) => {
                    let key = format!("{key}@x");
                    out = custody.view_changed(now, |other| other == key);
                    let must: Vec<u64> = pending
                        .iter()
                        .filter(|(_, other)| **other == key)
                        .map(|(seq, _)| *seq)
                        .collect();
                    let got = seqs(&out);
                    prop_assert!(must.iter().all(|seq| got.contains(seq)));
                }
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    out = custody.overdue(now);
                }
            }
            let got = seqs(&out);
            prop_assert!(got.is_sorted());
            for resend in &out {
                prop_assert_eq!(pending.get(&resend.seq).map(String::as_str), Some(&*resend.key));
                // Everything behind it with its key comes along.
                for (seq, _) in pending.range(resend.seq..).filter(|(_, key)| **key == *resend.key) {
                    prop_assert!(got.contains(seq));
                }
                sent.insert(resend.seq);
            }
            told += custody.handled();
            let row = pending.keys().next().map_or(accepted, |first| first - 1);
            prop_assert_eq!(told, row);
            prop_assert_eq!(custody.waiting(), pending.len());
            prop_assert_eq!(custody.waiting_bytes(), pending.len() * 10);
            prop_assert!(accepted - told <= 16);
        }
        // In the end everything without a receipt comes out again.
        now += Duration::from_secs(3600);
        let rest = seqs(&custody.overdue(now));
        prop_assert_eq!(rest, pending.keys().copied().collect::<Vec<_>>());
    }
}
