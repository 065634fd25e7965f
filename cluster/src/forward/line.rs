//! The way of frames from the queue onto a connection: HTTP/2 asks for the next batch when it can
//! write, and gets what waits then. No task and no queue stand between.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use entente_proto::mesh::v1::LinkBatch;
use futures_util::stream::{Stream, StreamExt, once, unfold};
use tokio::sync::oneshot;

use super::link::{Batch, LinkLimits, LinkSender};
use super::peer::Peer;
use super::wire;

/// The sending end of the link to one peer, shared by its driver and the connection of the moment.
pub(super) struct Line {
    peer: Arc<Peer>,
    limits: LinkLimits,
    end: Mutex<End>,
}

struct End {
    sender: LinkSender,
    /// Counts the connections.
    connections: u64,
    /// The connection that takes frames. One that is over may still be asked for some by HTTP/2.
    present: Option<u64>,
    /// The task of that connection, while the window is full.
    waits_for_room: Option<Waker>,
}

/// The right of one connection to take frames; it ends when this is dropped.
pub(super) struct Turn {
    line: Arc<Line>,
    connection: u64,
    begin: Option<oneshot::Sender<()>>,
}

impl Line {
    pub(super) fn new(peer: Arc<Peer>, sender: LinkSender, limits: LinkLimits) -> Arc<Self> {
        Arc::new(Self {
            peer,
            limits,
            end: Mutex::new(End {
                sender,
                connections: 0,
                present: None,
                waits_for_room: None,
            }),
        })
    }

    /// What the driver does with the sender.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut LinkSender) -> T) -> T {
        let mut end = self.lock();
        let done = act(&mut end.sender);
        let waiting = match end.sender.room() {
            0 => None,
            _ => end.waits_for_room.take(),
        };
        drop(end);
        if let Some(task) = waiting {
            task.wake();
        }
        done
    }

    /// What a new connection sends: the hello, and frames from [`Turn::begin`] on.
    pub(super) fn connect(
        self: &Arc<Self>,
        hello: LinkBatch,
    ) -> (Turn, impl Stream<Item = LinkBatch> + Send + 'static) {
        let connection = {
            let mut end = self.lock();
            end.connections += 1;
            end.connections
        };
        let (begin, begun) = oneshot::channel();
        let turn = Turn {
            line: Arc::clone(self),
            connection,
            begin: Some(begin),
        };
        let frames = unfold(
            (Arc::clone(self), Some(begun)),
            move |(line, begun)| async move {
                if let Some(begun) = begun {
                    begun.await.ok()?;
                }
                let batch = line.next(connection).await?;
                Some((wire::batch(batch), (line, None)))
            },
        );
        (turn, once(std::future::ready(hello)).chain(frames))
    }

    /// The next batch; `None` when it is not the connection's turn any more.
    async fn next(&self, connection: u64) -> Option<Batch> {
        let mut waited = false;
        loop {
            let polled = poll_fn(|cx| {
                let ready = self.poll_ready(connection, cx);
                waited |= ready.is_pending();
                ready
            });
            if !polled.await {
                return None;
            }
            if std::mem::take(&mut waited) {
                // Whoever else is about to send comes first: one batch of many frames costs hardly
                // more than one of a single frame. Nobody is waited for.
                tokio::task::yield_now().await;
            }
            if let Some(batch) = self.take(connection) {
                return Some(batch);
            }
        }
    }

    /// Whether it is still the connection's turn, as soon as there is something to send.
    fn poll_ready(&self, connection: u64, cx: &Context<'_>) -> Poll<bool> {
        let mut end = self.lock();
        if end.present != Some(connection) {
            return Poll::Ready(false);
        }
        if end.sender.unwritten() > 0 {
            return Poll::Ready(true);
        }
        if end.sender.room() == 0 {
            end.waits_for_room = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // Under the lock of the line: a connection that is over cannot register behind its successor.
        self.peer.outbox.poll_filled(cx).map(|()| true)
    }

    /// Takes from the queue what fits into the window and the next batch.
    fn take(&self, connection: u64) -> Option<Batch> {
        let mut end = self.lock();
        if end.present != Some(connection) {
            return None;
        }
        let sender = &mut end.sender;
        let frames = self
            .limits
            .batch_frames
            .saturating_sub(sender.unwritten())
            .min(sender.room());
        self.peer
            .outbox
            .take(frames, self.limits.batch_bytes, |frame| sender.push(frame));
        let batch = sender.next_batch();
        drop(end);
        batch.inspect(|batch| self.count(&batch.frames))
    }

    fn count(&self, frames: &[Bytes]) {
        let metrics = &self.peer.metrics;
        metrics.sent_batches.increment(1);
        metrics.sent_frames.increment(frames.len() as u64);
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        metrics.sent_bytes.increment(bytes as u64);
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        // Nothing panics while the lock is held.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The other side has said welcome: frames flow.
    pub(super) fn begin(&mut self) {
        self.line.lock().present = Some(self.connection);
        if let Some(begin) = self.begin.take() {
            // Refused only if the connection is over already.
            let _over = begin.send(());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let waiting = {
            let mut end = self.line.lock();
            if end.present == Some(self.connection) {
                end.present = None;
            }
            end.waits_for_room.take()
        };
        // Its stream learns that it is over, and ends.
        if let Some(task) = waiting {
            task.wake();
        }
        self.line.peer.outbox.wake();
    }
}
