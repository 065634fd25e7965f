//! Keeps the link to one peer up: connects, resumes, reads the acknowledgements. What is queued the
//! connection takes itself ([`Line`]).

use std::net::SocketAddr;
use std::sync::Arc;

use entente_proto::mesh::v1::{LinkAck, link_ack};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::dial::{causes, dial};
use super::fault::LinkFault;
use super::handler::Lost;
use super::line::{Line, Turn};
use super::link::{Attached, LinkSender};
use super::peer::{self, Peer};
use super::{Context, now, wire};

/// What the view says about the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// Where its mesh listens.
    pub(super) addr: SocketAddr,
    /// Which life of it the view lists.
    pub(super) generation: u64,
    /// Whether frames are taken for it.
    pub(super) up: bool,
}

/// The async loop around the sending end of a link.
pub(super) struct LinkDriver {
    context: Arc<Context>,
    peer: Arc<Peer>,
    target: watch::Receiver<Target>,
    line: Arc<Line>,
    backoff: Backoff,
}

/// Why a connection, or the attempt at one, is over.
#[derive(Debug)]
enum Ended {
    /// The view says something new about the peer: connect anew at once.
    Moved,
    /// The peer's process is another one than before, or forgot us.
    Reset,
    /// It failed.
    Fault(LinkFault),
}

struct Connection {
    acks: Streaming<LinkAck>,
    /// Held as long as the connection takes frames.
    turn: Turn,
}

impl LinkDriver {
    pub(super) fn new(
        context: Arc<Context>,
        peer: Arc<Peer>,
        target: watch::Receiver<Target>,
    ) -> Self {
        let limits = &context.limits.link;
        let sender = LinkSender::new(context.next_epoch(), limits.clone());
        let line = Line::new(Arc::clone(&peer), sender, limits.clone());
        let backoff = Backoff::new(context.limits.backoff_min, context.limits.backoff_max);
        Self {
            context,
            peer,
            target,
            line,
            backoff,
        }
    }

    /// Drives until stopped; then gives back what was not delivered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.follow_target().await;
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = self.connection() => ended,
            };
            self.peer.link_down(match &ended {
                Ended::Fault(fault) => Some(fault.clone()),
                Ended::Moved | Ended::Reset => None,
            });
            match ended {
                Ended::Moved => self.backoff.reset(),
                Ended::Reset => self.give_back(false).await,
                Ended::Fault(fault) => {
                    debug!(peer = %self.peer.id, %fault, "link down");
                    self.line.with(|sender| sender.broken(now()));
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.pause() => {}
                    }
                }
            }
        }
        self.peer.link_down(None);
        self.give_back(true).await;
    }

    /// Gives back what the view says cannot be delivered any more.
    async fn follow_target(&mut self) {
        let target = *self.target.borrow();
        let outbox = &self.peer.outbox;
        if !target.up {
            // Nobody should wait for a peer that is down.
            if outbox.depth().pending > 0 {
                self.give_back(true).await;
            }
        } else if outbox.is_outdated() {
            // The link may have met the new life before the view told of it.
            if self.callee().is_some_and(|g| g >= target.generation) {
                outbox.keep_outdated();
            } else {
                self.give_back(false).await;
            }
        }
    }

    /// Waits until the next attempt makes sense.
    async fn pause(&mut self) {
        let pause = self.backoff.pause(rand::random());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = self.target.changed() => self.backoff.reset(),
            () = self.peer.nudge.notified() => self.backoff.reset(),
        }
    }

    /// One connection from dialling to its end.
    async fn connection(&mut self) -> Ended {
        let target = *self.target.borrow_and_update();
        let mut moved = self.target.clone();
        let opened = tokio::select! {
            opened = self.open(target) => opened,
            Ok(()) = moved.changed() => return Ended::Moved,
        };
        match opened {
            Ok(mut connection) => {
                if self.line.with(|sender| sender.mended(now())) {
                    self.give_back_perishable().await;
                }
                connection.turn.begin();
                self.pump(target, connection).await
            }
            Err(ended) => ended,
        }
    }

    async fn open(&mut self, target: Target) -> Result<Connection, Ended> {
        let (context, peer) = (&self.context, &self.peer);
        let channel = dial(context, &peer.id, target.addr)
            .await
            .map_err(Ended::Fault)?;
        let hello = wire::hello(
            &context.local,
            context.generation,
            self.line.with(|sender| sender.epoch()),
            &peer.id,
        );
        let (turn, batches) = self.line.connect(hello);
        let greet = async {
            let mut client = peer::client(channel.clone(), context);
            let mut acks = client.link(batches).await?.into_inner();
            let first = acks.message().await?;
            Ok((first, acks))
        };
        let (first, acks) = tokio::time::timeout(context.limits.hello_timeout, greet)
            .await
            .map_err(|_| Ended::Fault(LinkFault::Timeout))?
            .map_err(|status| Ended::Fault(broken(&status)))?;
        let first = first.ok_or(Ended::Fault(LinkFault::Protocol))?;
        let welcome = wire::check_welcome(first, &peer.id).map_err(Ended::Fault)?;
        let never_attached = self.callee().is_none();
        let attached = self
            .line
            .with(|sender| sender.attach(welcome.generation, welcome.resumed, welcome.received));
        match attached {
            // It claims to have frames that were never sent.
            Attached::MustReset if never_attached => {
                return Err(Ended::Fault(LinkFault::Protocol));
            }
            Attached::MustReset => return Err(Ended::Reset),
            Attached::Fresh => {}
            Attached::Resumed { again } => debug!(peer = %peer.id, again, "link resumed"),
        }
        // What the welcome acknowledged has left the sender.
        self.settle();
        self.backoff.reset();
        info!(peer = %self.peer.id, generation = welcome.generation, "link up");
        self.peer.link_up(channel, welcome.generation);
        Ok(Connection { acks, turn })
    }

    /// Takes acknowledgements until something ends it.
    async fn pump(&mut self, target: Target, mut connection: Connection) -> Ended {
        loop {
            tokio::select! {
                ack = connection.acks.message() => match self.acked(ack) {
                    Ok(()) => {}
                    Err(fault) => return Ended::Fault(fault),
                },
                Ok(()) = self.target.changed() => if self.has_moved(target) {
                    return Ended::Moved;
                },
            }
        }
    }

    /// The life of the peer that the frames were sent to.
    fn callee(&self) -> Option<u64> {
        self.line.with(|sender| sender.callee())
    }

    fn has_moved(&mut self, old: Target) -> bool {
        let new = *self.target.borrow_and_update();
        // The view may lag behind what the welcome said; only a newer life is news.
        let newer = self.callee().is_some_and(|g| new.generation > g);
        if !newer {
            self.peer.outbox.keep_outdated();
        }
        new.addr != old.addr || newer || new.up != old.up
    }

    fn acked(&mut self, ack: Result<Option<LinkAck>, Status>) -> Result<(), LinkFault> {
        let ack = ack.map_err(|status| broken(&status))?;
        let ack = ack.ok_or_else(|| LinkFault::Connection("closed".to_owned()))?;
        let Some(link_ack::Body::Received(received)) = ack.body else {
            return Err(LinkFault::Protocol);
        };
        let acked = self.line.with(|sender| sender.acked(received));
        acked.map_err(|violation| {
            warn!(peer = %self.peer.id, %violation, "a peer broke the rules of the link");
            LinkFault::Protocol
        })?;
        self.settle();
        Ok(())
    }

    /// Tells those who wait for it how much has arrived.
    fn settle(&self) {
        self.peer
            .outbox
            .settle_to(self.line.with(|sender| sender.outstanding()));
    }

    /// Nobody knows what became of the frames that are not acknowledged, and what was queued behind
    /// them must not overtake them when the node sends them again: all of it goes back to the node.
    /// Unless `all`, what was queued for the peer's new life stays.
    async fn give_back(&mut self, all: bool) {
        let epoch = self.context.next_epoch();
        let mut frames = self.line.with(|sender| sender.reset(epoch));
        self.peer.outbox.take_lost(all, |frame| frames.push(frame));
        self.lost(frames).await;
    }

    /// After a long break: see [`super::link`].
    async fn give_back_perishable(&mut self) {
        let perishable = |frame: &bytes::Bytes| self.context.handler.perishable(frame);
        let mut frames = self.line.with(|sender| sender.withdraw(perishable));
        self.peer
            .outbox
            .withdraw(perishable, |frame| frames.push(frame));
        self.lost(frames).await;
    }

    async fn lost(&self, frames: Vec<bytes::Bytes>) {
        if !frames.is_empty() {
            let count = frames.len();
            warn!(peer = %self.peer.id, frames = count, "frames lost");
            self.peer.lost(count);
            let peer = self.peer.id.clone();
            self.context.handler.lost(Lost { peer, frames }).await;
        }
        self.settle();
    }
}

fn broken(status: &Status) -> LinkFault {
    LinkFault::Connection(causes(status))
}
