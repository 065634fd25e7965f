//! What the node is doing as a whole, and with it whether its listeners are open.

use crate::clock::now;
use std::sync::Arc;
use std::time::Duration;

use entente_cluster::Fence;
use tokio::sync::watch;

/// See the module. `Display` is what `/readyz` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not all parts are up.
    Starting,
    /// Clients and peers are served.
    Serving,
    /// An operator takes the node out, or it is stopping.
    Draining,
    /// The lease can't be renewed: the node is on the wrong side of a cut, or the majority is gone.
    Isolated,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Isolated => "isolated",
        }
    }
}

/// The inputs to the phase, and the phase.
#[derive(Clone)]
pub(crate) struct PhaseControl {
    inputs: Arc<watch::Sender<Inputs>>,
    phase: watch::Receiver<Phase>,
    open: watch::Receiver<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Inputs {
    started: bool,
    door: Door,
}

/// Whether an operator, or a stop, lets new connections in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Door {
    #[default]
    Open,
    /// The node drains, but answers in resolvers' caches still lead to it.
    OpenWhileDraining,
    Closed,
}

/// How often the fence is looked at.
const LOOK: Duration = Duration::from_millis(200);

impl PhaseControl {
    /// Starts to follow the fence.
    pub(crate) fn start(fence: Arc<Fence>) -> Self {
        let (inputs, heard) = watch::channel(Inputs::default());
        let (phase_sender, phase) = watch::channel(Phase::Starting);
        let (open_sender, open) = watch::channel(false);
        tokio::spawn(follow(fence, heard, phase_sender, open_sender));
        Self {
            inputs: Arc::new(inputs),
            phase,
            open,
        }
    }

    /// All parts are up.
    pub(crate) fn started(&self) {
        self.inputs.send_modify(|inputs| inputs.started = true);
    }

    pub(crate) fn set_door(&self, door: Door) {
        self.inputs.send_modify(|inputs| inputs.door = door);
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Whether the listeners for clients and peers are open.
    pub(crate) fn open(&self) -> watch::Receiver<bool> {
        self.open.clone()
    }
}

async fn follow(
    fence: Arc<Fence>,
    mut inputs: watch::Receiver<Inputs>,
    phase: watch::Sender<Phase>,
    open: watch::Sender<bool>,
) {
    loop {
        let Inputs { started, door } = *inputs.borrow_and_update();
        let draining = door != Door::Open;
        let now = now();
        let next = match (started, draining, fence.must_close(now)) {
            (false, _, _) => Phase::Starting,
            (true, _, true) => Phase::Isolated,
            (true, true, false) => Phase::Draining,
            // After isolation the listeners open only when acks flow again.
            (true, false, false) if *phase.borrow() == Phase::Isolated && !fence.may_ack(now) => {
                Phase::Isolated
            }
            (true, false, false) => Phase::Serving,
        };
        phase.send_if_modified(|phase| {
            let changed = *phase != next;
            if changed {
                tracing::info!(phase = next.name(), "the node's phase changed");
                metrics::gauge!("entente_ready").set(if next == Phase::Serving {
                    1.0
                } else {
                    0.0
                });
                *phase = next;
            }
            changed
        });
        open.send_if_modified(|open| {
            let wanted = match next {
                Phase::Serving => true,
                Phase::Draining => door == Door::OpenWhileDraining,
                Phase::Starting | Phase::Isolated => false,
            };
            let changed = *open != wanted;
            *open = wanted;
            changed
        });
        tokio::select! {
            changed = inputs.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
