//! Who the peers are: follows the view.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::driver::{LinkDriver, Target};
use super::inbox::Inbox;
use super::peer::Peer;
use super::{Context, health};
use crate::{ClusterView, Member, NodeId, Standing};

/// The members of the view other than the local node, and their tasks.
pub(super) struct Peers {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    view: watch::Receiver<Arc<ClusterView>>,
    runtime: Handle,
    stop: CancellationToken,
    /// For those who send; written under the lock of `steering`.
    published: RwLock<Published>,
    /// `None` after the end.
    steering: Mutex<Option<Steering>>,
}

/// The peers of a view.
struct Published {
    view: Arc<ClusterView>,
    peers: HashMap<NodeId, Arc<Peer>>,
}

/// The state behind [`Peers::follow_view`].
#[derive(Default)]
struct Steering {
    peers: HashMap<NodeId, Steered>,
    tasks: JoinSet<()>,
}

/// A peer and the means to steer its tasks.
struct Steered {
    peer: Arc<Peer>,
    target: watch::Sender<Target>,
    stop: CancellationToken,
}

impl Peers {
    /// To be called on the runtime where the tasks shall run.
    pub(super) fn new(
        context: Arc<Context>,
        inbox: Arc<Inbox>,
        view: watch::Receiver<Arc<ClusterView>>,
        stop: CancellationToken,
    ) -> Self {
        let local = context.local.clone();
        let peers = Self {
            context,
            inbox,
            published: RwLock::new(Published {
                view: Arc::new(ClusterView::empty(local)),
                peers: HashMap::new(),
            }),
            view,
            runtime: Handle::current(),
            stop,
            steering: Mutex::new(Some(Steering::default())),
        };
        peers.follow_view();
        peers
    }

    /// The peer, if the newest view has it. Whoever acts on a change of the view may be faster than
    /// the task that follows it, and what it sends then must not be taken for something older: so
    /// the view is looked at each time.
    pub(super) fn get(&self, id: &NodeId) -> Option<Arc<Peer>> {
        // One lock after the other: the order of the two must not matter to anybody.
        let newest = Arc::as_ptr(&self.view.borrow());
        let followed = Arc::as_ptr(&self.published().view);
        if newest != followed {
            self.follow_view();
        }
        self.published().peers.get(id).map(Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.published().peers.values().map(Arc::clone).collect()
    }

    /// Starts, steers and stops links until the mesh is stopped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut view = self.view.clone();
        loop {
            view.borrow_and_update();
            self.follow_view();
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = view.changed() => if changed.is_err() {
                    // Nobody will tell of changes any more: keep what there is.
                    self.stop.cancelled().await;
                    break;
                },
            }
        }
        let ending = self.lock().take();
        let Some(mut ending) = ending else {
            return;
        };
        let last = Arc::clone(&view.borrow());
        self.publish(last, HashMap::new());
        for gone in ending.peers.values() {
            gone.end();
        }
        while let Some(ended) = ending.tasks.join_next().await {
            report(ended);
        }
    }

    /// Brings the peers in line with the newest view.
    fn follow_view(&self) {
        let mut lock = self.lock();
        let Some(steering) = &mut *lock else {
            return;
        };
        // Read under the lock, so that an older view never comes after a newer one.
        let view = Arc::clone(&self.view.borrow());
        if Arc::ptr_eq(&self.published().view, &view) {
            return;
        }
        while let Some(ended) = steering.tasks.try_join_next() {
            report(ended);
        }
        steering.peers.retain(|id, gone| {
            let stays = view.member(id).is_some();
            if !stays {
                gone.end();
            }
            stays
        });
        for member in view.members.iter() {
            if member.id == self.context.local {
                continue;
            }
            match steering.peers.get(&member.id) {
                Some(known) => known.steer(target_of(member)),
                None => {
                    let new = self.start(member, &mut steering.tasks);
                    steering.peers.insert(member.id.clone(), new);
                }
            }
        }
        self.inbox.retain(|id| view.member(id).is_some());
        let peers = steering.peers.iter();
        let peers = peers.map(|(id, known)| (id.clone(), Arc::clone(&known.peer)));
        self.publish(view, peers.collect());
    }

    fn start(&self, member: &Member, tasks: &mut JoinSet<()>) -> Steered {
        let stop = self.stop.child_token();
        let peer = Arc::new(Peer::new(&self.context, member.id.clone()));
        let (target, targets) = watch::channel(target_of(member));
        peer.outbox.set_open(target_of(member).up);
        let driver = LinkDriver::new(Arc::clone(&self.context), Arc::clone(&peer), targets);
        tasks.spawn_on(driver.run(stop.clone()), &self.runtime);
        tasks.spawn_on(
            health::watch(Arc::clone(&self.context), Arc::clone(&peer), stop.clone()),
            &self.runtime,
        );
        Steered { peer, target, stop }
    }

    fn publish(&self, view: Arc<ClusterView>, peers: HashMap<NodeId, Arc<Peer>>) {
        let new = Published { view, peers };
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Steering>> {
        self.steering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn target_of(member: &Member) -> Target {
    Target {
        addr: member.mesh,
        generation: member.generation,
        up: member.standing != Standing::Down,
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a task of the mesh failed");
    }
}

impl Steered {
    fn steer(&self, target: Target) {
        // Before the driver hears of it, or it would not know what to give back.
        if target.generation > self.target.borrow().generation {
            self.peer.outbox.outdate();
        }
        self.peer.outbox.set_open(target.up);
        self.target.send_if_modified(|old| {
            let changed = *old != target;
            *old = target;
            changed
        });
    }

    fn end(&self) {
        self.peer.outbox.set_open(false);
        self.stop.cancel();
    }
}
