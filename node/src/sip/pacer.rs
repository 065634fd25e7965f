//! How requests to one peer queue: at the peer's pace, conversation before presence, and users in turns
//! (Microsoft's edges refuse more than 20 requests a second of a partner, and watch those who go on).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Which kind of request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Conversation: somebody waits for it.
    Talk,
    /// Presence: what is not sent now may be out of date by then.
    Presence,
}

/// Requests of conversations that go ahead of one of presence, at most: presence is slow, not starved.
const TALK_AHEAD: u32 = 8;

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    /// Send this.
    Send(T),
    /// Nothing before then: the pace.
    Wait(Instant),
    /// Nothing waits.
    Empty,
}

/// The queue is full; here is what did not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full<T>(pub(super) T);

/// See the module.
#[derive(Debug)]
pub(super) struct Pacer<T> {
    talk: Lane<T>,
    presence: Lane<T>,
    /// Of [`Class::Talk`] since the last of [`Class::Presence`].
    ahead: u32,
    room: usize,
    interval: Duration,
    /// Before this nothing goes out.
    next: Option<Instant>,
}

impl<T> Pacer<T> {
    /// A queue of at most `room` requests that go out `per_second`, evenly: a burst after a pause would
    /// count against us at the peer, which looks at each second.
    pub(super) fn new(per_second: u32, room: usize) -> Self {
        Self {
            talk: Lane::default(),
            presence: Lane::default(),
            ahead: 0,
            room,
            interval: interval(per_second),
            next: None,
        }
    }

    /// Queues a request of `user`; the user's requests of one class keep their order.
    pub(super) fn push(&mut self, class: Class, user: u64, item: T) -> Result<(), Full<T>> {
        if self.len() >= self.room {
            return Err(Full(item));
        }
        self.lane(class).push(user, item);
        Ok(())
    }

    /// Puts back what was taken and could not be sent; it is the user's next.
    pub(super) fn put_back(&mut self, class: Class, user: u64, item: T) {
        self.lane(class).put_back(user, item);
    }

    /// The next request whose time has come.
    pub(super) fn turn(&mut self, now: Instant) -> Turn<T> {
        if self.len() == 0 {
            return Turn::Empty;
        }
        if let Some(next) = self.next
            && next > now
        {
            return Turn::Wait(next);
        }
        let presence_is_due = self.ahead >= TALK_AHEAD || self.talk.len == 0;
        let item = if presence_is_due && self.presence.len > 0 {
            self.ahead = 0;
            self.presence.pop()
        } else {
            self.ahead += 1;
            self.talk.pop()
        };
        match item {
            Some(item) => {
                self.next = Some(now + self.interval);
                Turn::Send(item)
            }
            None => Turn::Empty,
        }
    }

    /// Takes out the first that fits.
    pub(super) fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let taken = self.talk.take(&fits);
        taken.or_else(|| self.presence.take(&fits))
    }

    /// Everything that waits, taken out.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len());
        for lane in [&mut self.talk, &mut self.presence] {
            while let Some(item) = lane.pop() {
                all.push(item);
            }
        }
        all
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.talk.len + self.presence.len
    }

    /// Another pace, from now on.
    pub(super) fn set_pace(&mut self, per_second: u32) {
        self.interval = interval(per_second);
    }

    fn lane(&mut self, class: Class) -> &mut Lane<T> {
        match class {
            Class::Talk => &mut self.talk,
            Class::Presence => &mut self.presence,
        }
    }
}

fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

/// Users in turns, each with a queue.
#[derive(Debug)]
struct Lane<T> {
    turns: VecDeque<u64>,
    queues: HashMap<u64, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            queues: HashMap::new(),
            len: 0,
        }
    }
}

impl<T> Lane<T> {
    fn push(&mut self, user: u64, item: T) {
        let queue = self.queues.entry(user).or_default();
        if queue.is_empty() {
            self.turns.push_back(user);
        }
        queue.push_back(item);
        self.len += 1;
    }

    fn put_back(&mut self, user: u64, item: T) {
        let queue = self.queues.entry(user).or_default();
        if queue.is_empty() {
            self.turns.push_front(user);
        }
        queue.push_front(item);
        self.len += 1;
    }

    fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let (user, index) = self
            .queues
            .iter()
            .find_map(|(user, queue)| queue.iter().position(&fits).map(|index| (*user, index)))?;
        let queue = self.queues.get_mut(&user)?;
        let item = queue.remove(index);
        if queue.is_empty() {
            self.queues.remove(&user);
            self.turns.retain(|turn| *turn != user);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    fn pop(&mut self) -> Option<T> {
        let user = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&user)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting point for virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// Everything, in the order and at the times at which it goes out.
    fn drain<T>(pacer: &mut Pacer<T>, mut now: Instant) -> Vec<(T, Instant)> {
        let mut sent = Vec::new();
        loop {
            match pacer.turn(now) {
                Turn::Send(item) => sent.push((item, now)),
                Turn::Wait(until) => now = until,
                Turn::Empty => return sent,
            }
        }
    }

    fn order<T>(pacer: &mut Pacer<T>) -> Vec<T> {
        let sent = drain(pacer, start());
        sent.into_iter().map(|(item, _)| item).collect()
    }

    #[test]
    fn no_second_holds_more_than_the_pace() {
        let mut pacer = Pacer::new(20, 10_000);
        for n in 0..1200 {
            pacer.push(Class::Presence, n % 7, n).unwrap();
        }
        let sent = drain(&mut pacer, start());
        assert_eq!(sent.len(), 1200);
        for (index, (_, at)) in sent.iter().enumerate() {
            let in_a_second = sent[index..]
                .iter()
                .take_while(|(_, later)| *later < *at + Duration::from_secs(1))
                .count();
            assert!(in_a_second <= 20, "{in_a_second}");
        }
        assert!(sent[1199].1 - sent[0].1 < Duration::from_secs(60));
    }

    #[test]
    fn conversation_goes_first_and_presence_does_not_starve() {
        let mut pacer = Pacer::new(10_000, 100);
        for n in 0..4 {
            pacer.push(Class::Presence, 1, format!("p{n}")).unwrap();
        }
        for n in 0..20 {
            pacer.push(Class::Talk, 2, format!("t{n}")).unwrap();
        }
        let sent = order(&mut pacer);
        assert_eq!(sent.len(), 24);
        assert!(
            sent[..8].iter().all(|item| item.starts_with('t')),
            "{sent:?}"
        );
        assert_eq!(sent[8], "p0");
        assert_eq!(sent[17], "p1");
    }

    #[test]
    fn users_take_turns_and_keep_their_order() {
        let mut pacer = Pacer::new(10_000, 100);
        for n in 0..3 {
            pacer.push(Class::Talk, 1, (1, n)).unwrap();
        }
        pacer.push(Class::Talk, 2, (2, 0)).unwrap();
        let now = start();
        let Turn::Send(first) = pacer.turn(now) else {
            panic!("something waits")
        };
        pacer.put_back(Class::Talk, 1, first);
        let sent = drain(&mut pacer, now + Duration::from_secs(1));
        let items: Vec<_> = sent.into_iter().map(|(item, _)| item).collect();
        // Its turn is over all the same, but nothing of the user overtakes it.
        assert_eq!(items, [(2, 0), (1, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn one_that_is_taken_out_leaves_the_others_in_their_order() {
        let mut pacer = Pacer::new(10_000, 100);
        for n in 0..3 {
            pacer.push(Class::Talk, 1, n).unwrap();
        }
        pacer.push(Class::Presence, 2, 7).unwrap();
        assert_eq!(pacer.take(|n| *n == 1), Some(1));
        assert_eq!(pacer.take(|n| *n == 7), Some(7));
        assert_eq!(pacer.take(|n| *n == 7), None);
        assert_eq!(order(&mut pacer), [0, 2]);
    }

    #[test]
    fn what_does_not_fit_comes_back() {
        let mut pacer = Pacer::new(1, 2);
        pacer.push(Class::Talk, 1, 'a').unwrap();
        pacer.push(Class::Presence, 1, 'b').unwrap();
        assert_eq!(pacer.push(Class::Talk, 1, 'c'), Err(Full('c')));
        assert_eq!(pacer.take_all(), ['a', 'b']);
        assert_eq!(pacer.turn(start()), Turn::Empty);
    }
}
