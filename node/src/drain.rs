//! Taking the node out of service: `entente drain`, and the first half of a stop. What comes when is
//! decided in [`sequence`]; here it is carried out.

mod sequence;

use std::sync::Arc;
use std::time::Duration;

use entente_cluster::MembershipHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::now;
use crate::config::DrainConfig;
use crate::dns::Dns;
use crate::fabric::{Connections, Item};
use crate::gateway::Gateways;
use crate::phase::{Door, PhaseControl};
use crate::sip::SipService;
use crate::xmpp::XmppService;

use sequence::{Action, Bounds, Input, Left, Sequence, Step};
pub(crate) use sequence::{Manner, Naming};

/// How long the other name servers get to follow: gossip takes well below a second.
const AGREEMENT: Duration = Duration::from_secs(8);
/// The same on a stop.
const QUICK_AGREEMENT: Duration = Duration::from_secs(1);
/// The longest time over which streams are ended.
const LONGEST_PACE: Duration = Duration::from_secs(60);
/// The same on a stop.
const QUICK_PACE: Duration = Duration::from_secs(2);
/// What the last stream gets: more than any stream's own bounds together (`ClientConfig`'s and
/// `InboundConfig`'s farewells, the close and the last words).
const FAREWELL: Duration = Duration::from_secs(10);
/// How often a drain looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often streams are told to end.
const BEAT: Duration = Duration::from_millis(10);

/// What a drain acts on.
pub(crate) struct Parts {
    pub(crate) membership: Arc<MembershipHandle>,
    pub(crate) phase: PhaseControl,
    pub(crate) connections: Arc<Connections>,
    pub(crate) xmpp: Arc<XmppService>,
    /// Where SIP is on.
    pub(crate) sip: Option<Arc<SipService>>,
    pub(crate) gateways: Option<Arc<Gateways>>,
    pub(crate) dns: Arc<Dns>,
}

/// How far a drain is, as `entente status` and `entente drain --wait` show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The name of the step; empty while the node serves.
    pub(crate) step: String,
    /// The longest that the step may still take.
    pub(crate) seconds_left: u64,
    /// Client sessions and streams of peers that are still here.
    pub(crate) sessions: usize,
    /// Streams to peers, and SIP connections, that are still here.
    pub(crate) outbound: usize,
    pub(crate) drained: bool,
}

impl Progress {
    /// For people: the step and what is left.
    pub(crate) fn text(&self) -> String {
        let left = format!(
            "{} sessions and inbound streams, {} outbound streams left",
            self.sessions, self.outbound
        );
        if self.drained {
            format!("{}; {left}", self.step)
        } else {
            format!("{}, {} s at most; {left}", self.step, self.seconds_left)
        }
    }
}

/// The handle to the node's drain.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Begin(Manner),
    Undo,
}

impl Drain {
    /// Starts the task; nothing is drained yet.
    pub(crate) fn start(config: &DrainConfig, parts: Parts) -> Self {
        let bounds = Bounds {
            agreement: AGREEMENT,
            quick_agreement: QUICK_AGREEMENT,
            caches: config.dns_wait,
            pace: config.streams_per_second,
            longest_pace: LONGEST_PACE,
            quick_pace: QUICK_PACE,
            farewell: FAREWELL,
        };
        let (commands, heard) = mpsc::channel(4);
        let (told, progress) = watch::channel(Progress::default());
        let driver = Driver {
            sequence: Sequence::new(bounds),
            parts,
            ending: None,
            told,
        };
        tokio::spawn(driver.run(heard));
        Self { commands, progress }
    }

    /// Begins a drain, or makes one that is going on quicker.
    pub(crate) async fn begin(&self, manner: Manner) {
        // It ends with the node only.
        let _ending = self.commands.send(Command::Begin(manner)).await;
    }

    /// Takes a drain back.
    pub(crate) async fn undo(&self) {
        let _ending = self.commands.send(Command::Undo).await;
    }

    /// Waits until nobody is connected any more, or the bounds are reached.
    pub(crate) async fn drained(&self) {
        let mut progress = self.progress.clone();
        let _ending = progress.wait_for(|progress| progress.drained).await;
    }

    /// How far it is; `None` while the node serves.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let progress = self.progress.borrow().clone();
        (!progress.step.is_empty()).then_some(progress)
    }
}

struct Driver {
    sequence: Sequence,
    parts: Parts,
    ending: Option<JoinHandle<()>>,
    told: watch::Sender<Progress>,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let active = self.sequence.deadline().is_some();
            let input = tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Begin(manner)) => Input::Begin(manner),
                    Some(Command::Undo) => Input::Undo,
                    None => return,
                },
                () = tokio::time::sleep(LOOK), if active => self.look(),
            };
            let before = self.sequence.step();
            let begins = matches!(input, Input::Begin(_));
            self.sequence.handle_input(now(), input);
            if begins {
                let look = self.look();
                self.sequence.handle_input(now(), look);
            }
            while let Some(action) = self.sequence.poll_output() {
                self.act(action);
            }
            let step = self.sequence.step();
            self.tell(step);
            if step.name() != before.name() {
                tracing::info!(step = step.name(), progress = %self.told.borrow().text(), "drain");
            }
        }
    }

    fn look(&self) -> Input {
        let left = Left {
            sessions: self.parts.connections.count(),
            outbound: self.parts.xmpp.connected()
                + self.parts.sip.as_ref().map_or(0, |sip| sip.connected()),
        };
        let naming = self
            .parts
            .dns
            .naming(&self.parts.membership.view().borrow());
        Input::Look(naming, left)
    }

    fn act(&mut self, action: Action) {
        let parts = &self.parts;
        match action {
            Action::Announce => {
                parts.phase.set_door(Door::OpenWhileDraining);
                parts.membership.drain();
            }
            Action::HandOver { over } => {
                parts.phase.set_door(Door::Closed);
                parts.connections.close_door();
                parts.xmpp.leave();
                if let Some(gateways) = &parts.gateways {
                    gateways.hand_over();
                }
                if let Some(sip) = &parts.sip {
                    sip.leave();
                }
                let connections = Arc::clone(&parts.connections);
                self.ending = Some(tokio::spawn(end_streams(connections, over)));
            }
            Action::Finish(left) if left == Left::default() => tracing::info!("drained"),
            Action::Finish(left) => {
                tracing::warn!(
                    sessions = left.sessions,
                    outbound = left.outbound,
                    "drained, but not everything closed in time"
                );
            }
            Action::Retract => {
                if let Some(ending) = self.ending.take() {
                    ending.abort();
                }
                parts.connections.open_door();
                parts.xmpp.stay();
                parts.phase.set_door(Door::Open);
                parts.membership.undrain();
            }
        }
    }

    fn tell(&self, step: Step) {
        let left = self.sequence.left();
        let progress = match step {
            Step::Serving => Progress::default(),
            step => Progress {
                step: step.name().to_owned(),
                seconds_left: self.sequence.deadline().map_or(0, |(at, _)| {
                    at.saturating_duration_since(now()).as_secs_f64().ceil() as u64
                }),
                sessions: left.sessions,
                outbound: left.outbound,
                drained: step == Step::Drained,
            },
        };
        self.told.send_if_modified(|known| {
            let changed = *known != progress;
            *known = progress;
            changed
        });
    }
}

/// Tells every connection to take its leave, evenly over a time.
async fn end_streams(connections: Arc<Connections>, over: Duration) {
    let all = connections.all();
    let beats = (over.as_millis() / BEAT.as_millis()).max(1);
    let each = all
        .len()
        .div_ceil(usize::try_from(beats).unwrap_or(usize::MAX))
        .max(1);
    for some in all.chunks(each) {
        for inbox in some {
            // One that is gone has taken its leave.
            let _gone = inbox.push(Item::Leave);
        }
        tokio::time::sleep(BEAT).await;
    }
}
