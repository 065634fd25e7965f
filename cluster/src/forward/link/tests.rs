use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "any fixed instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn limits() -> LinkLimits {
    LinkLimits {
        window_frames: 20,
        window_bytes: 1000,
        batch_frames: 4,
        batch_bytes: 50,
        ack_frames: 6,
        ack_bytes: 100,
        ack_delay: Duration::from_millis(10),
        lapse: Duration::from_secs(2),
    }
}

fn frame(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn number(frame: &Bytes) -> u64 {
    u64::from_be_bytes(frame[..].try_into().expect("eight bytes"))
}

#[test]
fn the_window_pushes_back_by_frames_and_by_bytes() {
    let mut sender = LinkSender::new(1, limits());
    assert_eq!(sender.room(), 20);
    sender.push(Bytes::from(vec![0; 1000]));
    assert_eq!(sender.room(), 0);
    assert_eq!(sender.attach(7, false, 0), Attached::Fresh);
    sender.next_batch().expect("a batch");
    assert_eq!(sender.acked(1), Ok(1));
    for n in 0..20 {
        assert_eq!(sender.room(), 20 - n);
        sender.push(frame(1));
    }
    assert_eq!(sender.room(), 0);
}

#[test]
fn a_batch_ends_at_its_limits() {
    let mut sender = LinkSender::new(1, limits());
    sender.attach(7, false, 0);
    for _ in 0..5 {
        sender.push(frame(1));
    }
    assert_eq!(sender.next_batch().expect("a batch").frames.len(), 4);
    let rest = sender.next_batch().expect("the rest");
    assert_eq!((rest.first_seq, rest.frames.len()), (5, 1));
    assert_eq!(sender.next_batch(), None);
    sender.push(Bytes::from(vec![0; 60]));
    sender.push(frame(1));
    assert_eq!(sender.next_batch().expect("large").frames.len(), 1);
}

#[test]
fn acknowledgements_of_the_future_are_violations() {
    let mut sender = LinkSender::new(1, limits());
    sender.attach(7, false, 0);
    sender.push(frame(1));
    assert_eq!(
        sender.acked(1),
        Err(LinkViolation::AckAhead {
            received: 1,
            sent: 0
        })
    );
    assert!(sender.acked(u64::MAX).is_err());
    sender.next_batch();
    assert_eq!(sender.acked(1), Ok(1));
    assert_eq!(sender.acked(1), Ok(0));
    assert_eq!(sender.acked(0), Ok(0));
}

#[test]
fn another_process_or_a_forgotten_epoch_means_lost_frames() {
    for (generation, resumed, received) in
        [(8, false, 0), (8, true, 1), (7, false, 0), (7, true, 3)]
    {
        let mut sender = LinkSender::new(1, limits());
        sender.attach(7, false, 0);
        sender.push(frame(1));
        sender.push(frame(2));
        sender.next_batch();
        assert_eq!(
            sender.attach(generation, resumed, received),
            Attached::MustReset
        );
        assert_eq!(sender.reset(2), [frame(1), frame(2)]);
        assert_eq!(sender.attach(generation, false, 0), Attached::Fresh);
        assert_eq!(sender.outstanding_bytes(), 0);
    }
}

#[test]
fn after_a_long_break_perishable_frames_are_given_back_and_the_numbers_go_on() {
    let now = start();
    for (millis, lapsed) in [(2_000, false), (2_001, true)] {
        let (mut sender, mut receiver) = (
            LinkSender::new(1, limits()),
            LinkReceiver::new(3, 1, limits()),
        );
        sender.attach(7, false, 0);
        for n in 1..=4 {
            sender.push(frame(n));
        }
        let first = sender.next_batch().expect("a batch");
        sender.push(frame(5));
        receiver
            .batch(now, first.first_seq, first.frames[..1].to_vec())
            .expect("no gap");
        sender.broken(now);
        sender.broken(now + Duration::from_secs(1));
        sender.attach(7, true, receiver.received());
        assert_eq!(sender.mended(now + Duration::from_millis(millis)), lapsed);
        assert!(!sender.mended(now + Duration::from_secs(9)), "said once");
        let even = |frame: &Bytes| lapsed && number(frame).is_multiple_of(2);
        let back: Vec<u64> = sender.withdraw(even).iter().map(number).collect();
        let mut taken = Vec::new();
        while let Some(batch) = sender.next_batch() {
            let new = receiver.batch(now, batch.first_seq, batch.frames);
            taken.extend(new.expect("no gap").iter().map(number));
        }
        if lapsed {
            assert_eq!((back, taken), (vec![2, 4], vec![3, 5]));
        } else {
            assert_eq!((back, taken), (vec![], vec![2, 3, 4, 5]));
        }
        assert_eq!(sender.acked(receiver.received()), Ok(4));
        assert_eq!((sender.outstanding(), sender.outstanding_bytes()), (0, 0));
    }
}

#[test]
fn a_gap_is_a_violation_and_takes_nothing() {
    let now = start();
    let mut receiver = LinkReceiver::new(1, 1, limits());
    assert!(receiver.batch(now, 2, vec![frame(2)]).is_err());
    assert!(receiver.batch(now, 0, vec![frame(0)]).is_err());
    assert_eq!(receiver.received(), 0);
    assert_eq!(receiver.batch(now, 1, vec![frame(1)]), Ok(vec![frame(1)]));
    assert_eq!(
        receiver.batch(now, 1, vec![frame(1), frame(2)]),
        Ok(vec![frame(2)])
    );
}

#[test]
fn acks_come_by_count_by_bytes_and_by_time() {
    let now = start();
    let mut receiver = LinkReceiver::new(1, 1, limits());
    assert_eq!(receiver.poll_timeout(), None);
    let five = (1..=5).map(frame).collect();
    receiver.batch(now, 1, five).expect("in order");
    assert_eq!(receiver.poll_ack(now), None);
    receiver.batch(now, 6, vec![frame(6)]).expect("in order");
    assert_eq!(receiver.poll_ack(now), Some(6));
    assert_eq!(receiver.poll_ack(now), None);
    let large = Bytes::from(vec![0; 100]);
    receiver.batch(now, 7, vec![large]).expect("in order");
    assert_eq!(receiver.poll_ack(now), Some(7));
    receiver.batch(now, 8, vec![frame(8)]).expect("in order");
    let later = receiver.poll_timeout().expect("a deadline");
    assert_eq!(receiver.poll_ack(later), Some(8));
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn hellos_from_the_past_are_told_apart() {
    let receiver = LinkReceiver::new(5, 2, limits());
    assert_eq!(receiver.compare(5, 2), Ordering::Equal);
    assert_eq!(receiver.compare(5, 3), Ordering::Greater);
    assert_eq!(receiver.compare(6, 1), Ordering::Greater);
    assert_eq!(receiver.compare(5, 1), Ordering::Less);
    assert_eq!(receiver.compare(4, 9), Ordering::Less);
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Write,
    Arrive,
    Ack(u64),
    AckArrives,
    Break,
    Restart,
}

fn step(restarts: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Push),
        4 => Just(Step::Write),
        4 => Just(Step::Arrive),
        3 => (0u64..20).prop_map(Step::Ack),
        3 => Just(Step::AckArrives),
        1 => Just(Step::Break),
        restarts => Just(Step::Restart),
    ]
}

/// A sender, the wire, and a receiving process that may be replaced by its next generation.
struct World {
    now: Instant,
    sender: LinkSender,
    receiver: Option<LinkReceiver>,
    generation: u64,
    connected: bool,
    batches: VecDeque<Batch>,
    acks: VecDeque<u64>,
    pushed: u64,
    /// What each generation of the receiver took, in order.
    taken: Vec<Vec<u64>>,
    lost: Vec<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            now: start(),
            sender: LinkSender::new(1, limits()),
            receiver: None,
            generation: 1,
            connected: false,
            batches: VecDeque::new(),
            acks: VecDeque::new(),
            pushed: 0,
            taken: vec![Vec::new()],
            lost: Vec::new(),
        }
    }

    fn connect(&mut self) {
        if self.connected {
            return;
        }
        loop {
            let epoch = self.sender.epoch();
            let known = self.receiver.as_ref().map(|r| r.compare(3, epoch));
            assert_ne!(known, Some(Ordering::Less), "epochs grow");
            let resumed = known == Some(Ordering::Equal);
            if !resumed {
                self.receiver = Some(LinkReceiver::new(3, epoch, limits()));
            }
            let receiver = self.receiver.as_mut().expect("just made");
            receiver.resume();
            let received = receiver.received();
            match self.sender.attach(self.generation, resumed, received) {
                Attached::MustReset => {
                    let lost = self.sender.reset(epoch + 1);
                    self.lost.extend(lost.iter().map(number));
                }
                Attached::Fresh | Attached::Resumed { .. } => break,
            }
        }
        self.connected = true;
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.batches.clear();
        self.acks.clear();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push if self.sender.room() > 0 => {
                self.pushed += 1;
                self.sender.push(frame(self.pushed));
            }
            Step::Push => {}
            Step::Write => {
                self.connect();
                self.batches.extend(self.sender.next_batch());
            }
            Step::Arrive => {
                let Some(batch) = self.batches.pop_front() else {
                    return;
                };
                let receiver = self.receiver.as_mut().expect("connected");
                let fresh = receiver
                    .batch(self.now, batch.first_seq, batch.frames)
                    .expect("no gaps");
                let taken = self.taken.last_mut().expect("a generation");
                taken.extend(fresh.iter().map(number));
            }
            Step::Ack(millis) => {
                self.now += Duration::from_millis(*millis);
                if self.connected {
                    let receiver = self.receiver.as_mut().expect("connected");
                    self.acks.extend(receiver.poll_ack(self.now));
                }
            }
            Step::AckArrives => {
                if let Some(received) = self.acks.pop_front() {
                    self.sender.acked(received).expect("was sent");
                }
            }
            Step::Break => self.disconnect(),
            Step::Restart => {
                self.disconnect();
                self.receiver = None;
                self.generation += 1;
                self.taken.push(Vec::new());
            }
        }
    }

    /// Runs until nothing is under way any more.
    fn settle(&mut self) {
        for _ in 0..100 {
            for step in [Step::Write, Step::Arrive, Step::Ack(20), Step::AckArrives] {
                self.step(&step);
            }
        }
    }
}

proptest! {
    /// While the receiving process lives, every frame arrives once and in order, whatever breaks.
    #[test]
    fn once_and_in_order(steps in prop::collection::vec(step(0), 1..400)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        prop_assert_eq!(&world.taken[0], &(1..=world.pushed).collect::<Vec<_>>());
        prop_assert!(world.lost.is_empty());
        prop_assert_eq!(world.sender.outstanding(), 0);
        prop_assert_eq!(world.sender.outstanding_bytes(), 0);
    }

    /// When it dies too, every frame was taken by one of its lives or is given back as lost; none
    /// is taken by two.
    #[test]
    fn taken_or_given_back(steps in prop::collection::vec(step(1), 1..400)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        let taken: Vec<u64> = world.taken.concat();
        prop_assert!(taken.is_sorted_by(|a, b| a < b), "{:?}", world.taken);
        prop_assert!(world.lost.is_sorted_by(|a, b| a < b));
        for n in 1..=world.pushed {
            prop_assert!(taken.contains(&n) || world.lost.contains(&n));
        }
    }
}
