//! The queue of frames to one peer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bounded by frames and by bytes; many push, the link takes.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    max_frames: usize,
    max_bytes: usize,
    room: Notify,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Frames taken that are neither acknowledged nor lost.
    on_link: usize,
    /// So many frames at the front were pushed for an earlier life of the peer. Nothing is taken
    /// until it is decided what becomes of them.
    outdated: Option<usize>,
    open: bool,
    /// The task that takes, while there is nothing to take.
    taker: Option<Waker>,
}

impl Queue {
    fn pending(&self) -> usize {
        self.frames.len() + self.on_link
    }

    fn nothing_to_take(&self) -> bool {
        self.frames.is_empty() || self.outdated.is_some()
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        self.on_link += 1;
        Some(frame)
    }
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    /// Frames in the queue.
    pub(super) frames: usize,
    /// Bytes in the queue.
    pub(super) bytes: usize,
    /// Frames in the queue or on the link.
    pub(super) pending: usize,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// No room now.
    Full,
    /// The peer is down or gone.
    Closed,
}

impl Outbox {
    /// An empty queue that takes nothing until it is opened.
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            max_frames,
            max_bytes,
            room: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(super) fn set_open(&self, open: bool) {
        self.lock().open = open;
        // Who waits for room has to learn that there will be none.
        self.room.notify_waiters();
    }

    pub(super) fn try_push(&self, frame: &Bytes) -> Result<(), NotQueued> {
        let mut queue = self.lock();
        if !queue.open {
            return Err(NotQueued::Closed);
        }
        let full = queue.frames.len() >= self.max_frames
            || queue.bytes.saturating_add(frame.len()) > self.max_bytes;
        if full && !queue.frames.is_empty() {
            return Err(NotQueued::Full);
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame.clone());
        let taker = queue.taker.take();
        drop(queue);
        if let Some(taker) = taker {
            taker.wake();
        }
        Ok(())
    }

    /// Waits for room; fails only when closed.
    pub(super) async fn push(&self, frame: &Bytes) -> Result<(), NotQueued> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // From here on no wake-up is missed.
            room.as_mut().enable();
            match self.try_push(frame) {
                Err(NotQueued::Full) => room.await,
                done => return done,
            }
        }
    }

    /// Ready when there is something to take; for one task at a time.
    pub(super) fn poll_filled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.lock();
        if !queue.nothing_to_take() {
            return Poll::Ready(());
        }
        queue.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Lets the task that waits in [`Self::poll_filled`] look again.
    pub(super) fn wake(&self) {
        let taker = self.lock().taker.take();
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Moves frames out, in order: at most so many, and none after `max_bytes` are reached.
    pub(super) fn take(&self, max_frames: usize, max_bytes: usize, mut to: impl FnMut(Bytes)) {
        let mut queue = self.lock();
        if queue.outdated.is_none() {
            let mut bytes = 0;
            for _ in 0..max_frames {
                if bytes >= max_bytes {
                    break;
                }
                let Some(frame) = queue.pop() else {
                    break;
                };
                bytes += frame.len();
                to(frame);
            }
        }
        drop(queue);
        self.room.notify_waiters();
    }

    /// The view lists a new life of the peer. What is queued was meant for the old one; what is
    /// pushed from now on is meant for the new one.
    pub(super) fn outdate(&self) {
        let mut queue = self.lock();
        queue.outdated = Some(queue.frames.len());
    }

    /// Whether [`Self::outdate`] waits for a decision.
    pub(super) fn is_outdated(&self) -> bool {
        self.lock().outdated.is_some()
    }

    /// The link stood with the new life before the view knew of it: nothing is outdated.
    pub(super) fn keep_outdated(&self) {
        self.lock().outdated = None;
        self.wake();
    }

    /// Moves out what cannot be sent any more: the outdated frames if that is known, and else, or
    /// if `all`, everything.
    pub(super) fn take_lost(&self, all: bool, mut to: impl FnMut(Bytes)) {
        let mut queue = self.lock();
        let lost = match queue.outdated.take() {
            Some(outdated) if !all => outdated,
            _ => queue.frames.len(),
        };
        for _ in 0..lost {
            if let Some(frame) = queue.pop() {
                to(frame);
            }
        }
        drop(queue);
        self.room.notify_waiters();
        self.wake();
    }

    /// Moves out, in order, the frames that are `perishable`.
    pub(super) fn withdraw(&self, perishable: impl Fn(&Bytes) -> bool, mut to: impl FnMut(Bytes)) {
        let mut queue = self.lock();
        let mut gone = 0;
        let outdated = queue.outdated.unwrap_or(0);
        let frames = std::mem::take(&mut queue.frames);
        for (n, frame) in frames.into_iter().enumerate() {
            if perishable(&frame) {
                queue.bytes -= frame.len();
                gone += usize::from(n < outdated);
                to(frame);
            } else {
                queue.frames.push_back(frame);
            }
        }
        queue.outdated = queue.outdated.map(|outdated| outdated - gone);
        drop(queue);
        self.room.notify_waiters();
    }

    /// Of the frames taken so many are still neither acknowledged nor lost.
    pub(super) fn settle_to(&self, on_link: usize) {
        let mut queue = self.lock();
        queue.on_link = on_link;
        let all = queue.pending() == 0;
        drop(queue);
        if all {
            self.settled.notify_waiters();
        }
    }

    /// Resolves when nothing is pending.
    pub(super) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.lock().pending() == 0 {
                return;
            }
            settled.await;
        }
    }

    /// How much waits now.
    pub(super) fn depth(&self) -> Depth {
        let queue = self.lock();
        Depth {
            frames: queue.frames.len(),
            bytes: queue.bytes,
            pending: queue.pending(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the lock is held, so the queue is whole even if poisoned.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Bytes {
        Bytes::from(vec![0; len])
    }

    #[test]
    fn bounded_by_frames_and_by_bytes_but_one_always_fits() {
        let outbox = Outbox::new(2, 10);
        assert_eq!(outbox.try_push(&frame(1)), Err(NotQueued::Closed));
        outbox.set_open(true);
        assert_eq!(outbox.try_push(&frame(50)), Ok(()));
        assert_eq!(outbox.try_push(&frame(1)), Err(NotQueued::Full));
        outbox.take(9, 9, |_| ());
        assert_eq!(outbox.try_push(&frame(5)), Ok(()));
        assert_eq!(outbox.try_push(&frame(6)), Err(NotQueued::Full));
        assert_eq!(outbox.try_push(&frame(5)), Ok(()));
        assert_eq!(outbox.try_push(&frame(0)), Err(NotQueued::Full));
        let depth = outbox.depth();
        assert_eq!((depth.frames, depth.bytes, depth.pending), (2, 10, 3));
    }

    #[test]
    fn frames_for_an_earlier_life_are_told_from_those_for_the_new_one() {
        let outbox = Outbox::new(9, 99);
        outbox.set_open(true);
        let take = || {
            let mut lens = Vec::new();
            outbox.take(9, 99, |frame| lens.push(frame.len()));
            lens
        };
        let take_lost = |all| {
            let mut lens = Vec::new();
            outbox.take_lost(all, |frame| lens.push(frame.len()));
            lens
        };
        outbox.try_push(&frame(1)).expect("room");
        outbox.outdate();
        outbox.try_push(&frame(2)).expect("room");
        assert!(outbox.is_outdated());
        assert!(take().is_empty());
        assert_eq!(take_lost(false), [1]);
        assert_eq!(take(), [2]);
        outbox.try_push(&frame(3)).expect("room");
        outbox.outdate();
        outbox.keep_outdated();
        assert_eq!(take(), [3]);
        outbox.try_push(&frame(4)).expect("room");
        outbox.outdate();
        outbox.try_push(&frame(5)).expect("room");
        assert_eq!(take_lost(true), [4, 5]);
        for len in 6..=9 {
            outbox.try_push(&frame(len)).expect("room");
            if len == 7 {
                outbox.outdate();
            }
        }
        let mut withdrawn = Vec::new();
        let even = |frame: &Bytes| frame.len().is_multiple_of(2);
        outbox.withdraw(even, |frame| withdrawn.push(frame.len()));
        assert_eq!(withdrawn, [6, 8]);
        assert_eq!(take_lost(false), [7]);
        assert_eq!(take_lost(true), [9]);
        assert!(!outbox.is_outdated());
        assert_eq!(outbox.depth().bytes, 0);
    }

    #[tokio::test]
    async fn a_waiting_push_goes_on_when_there_is_room_and_ends_when_closed() {
        let outbox = Outbox::new(1, 10);
        outbox.set_open(true);
        outbox.try_push(&frame(1)).expect("room");
        let take = async { outbox.take(1, 10, |_| ()) };
        let large = frame(1);
        let (pushed, ()) = tokio::join!(outbox.push(&large), take);
        assert_eq!(pushed, Ok(()));
        let close = async { outbox.set_open(false) };
        let (pushed, ()) = tokio::join!(outbox.push(&large), close);
        assert_eq!(pushed, Err(NotQueued::Closed));
    }
}
