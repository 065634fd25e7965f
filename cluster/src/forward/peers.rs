//! Who the peers are: follows the view.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::driver::{LinkDriver, Target};
use super::inbox::Inbox;
use super::peer::Peer;
use super::{Context, health};
use crate::{ClusterView, Member, NodeId, Standing};

/// The members of the view other than the local node.
#[derive(Default)]
pub(super) struct Peers {
    by_id: RwLock<HashMap<NodeId, Arc<Peer>>>,
}

impl Peers {
    pub(super) fn get(&self, id: &NodeId) -> Option<Arc<Peer>> {
        let peers = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(id).map(Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        let peers = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().map(Arc::clone).collect()
    }

    fn insert(&self, peer: Arc<Peer>) {
        let mut peers = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        peers.insert(peer.id.clone(), peer);
    }

    fn remove(&self, id: &NodeId) {
        let mut peers = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        peers.remove(id);
    }
}

/// A peer and the means to steer its tasks.
struct Steered {
    peer: Arc<Peer>,
    target: watch::Sender<Target>,
    stop: CancellationToken,
}

/// Starts, steers and stops links as the view changes.
pub(super) async fn follow(
    context: Arc<Context>,
    peers: Arc<Peers>,
    inbox: Arc<Inbox>,
    mut view: watch::Receiver<Arc<ClusterView>>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut steered: HashMap<NodeId, Steered> = HashMap::new();
    loop {
        let seen = Arc::clone(&view.borrow_and_update());
        inbox.retain(|id| seen.member(id).is_some());
        steered.retain(|id, gone| {
            let stays = seen.member(id).is_some();
            if !stays {
                peers.remove(id);
                gone.end();
            }
            stays
        });
        for member in seen.members.iter().filter(|m| m.id != context.local) {
            match steered.get(&member.id) {
                Some(known) => known.steer(target_of(member)),
                None => {
                    let new = Steered::start(&context, member, &stop, &mut tasks);
                    peers.insert(Arc::clone(&new.peer));
                    steered.insert(member.id.clone(), new);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = view.changed() => if changed.is_err() {
                // Nobody will tell of changes any more: keep what there is.
                stop.cancelled().await;
                break;
            },
            Some(ended) = tasks.join_next() => if let Err(error) = ended {
                error!(%error, "a task of the mesh failed");
            },
        }
    }
    for (id, gone) in &steered {
        peers.remove(id);
        gone.end();
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a task of the mesh failed");
        }
    }
}

fn target_of(member: &Member) -> Target {
    Target {
        addr: member.mesh,
        generation: member.generation,
        up: member.standing != Standing::Down,
    }
}

impl Steered {
    fn start(
        context: &Arc<Context>,
        member: &Member,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let stop = stop.child_token();
        let peer = Arc::new(Peer::new(context, member.id.clone()));
        let (target, targets) = watch::channel(target_of(member));
        peer.outbox.set_open(target_of(member).up);
        let driver = LinkDriver::new(Arc::clone(context), Arc::clone(&peer), targets);
        tasks.spawn(driver.run(stop.clone()));
        tasks.spawn(health::watch(
            Arc::clone(context),
            Arc::clone(&peer),
            stop.clone(),
        ));
        Self { peer, target, stop }
    }

    fn steer(&self, target: Target) {
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
