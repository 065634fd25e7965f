//! Remote watchers of a local user (requirements P1 to P3).
//!
//! A SUBSCRIBE is held for a moment while the user's home is asked, so that a watcher who is allowed or
//! blocked already gets the right NOTIFY first; one about whom nobody has decided is pending. Denied is
//! polite (P2): the watcher has a subscription like any other, to somebody who is offline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_sip_core::message::Message;
use entente_sip_core::record::Moment;
use entente_sip_core::reply::Reply;
use entente_sip_core::status::Status;
use entente_sip_core::subscription::notifier::{
    Decision, Input, Notifier, NotifierConfig, Output, Reason, StoredNotifier,
};
use entente_sip_core::subscription::screen::Asked;
use entente_sip_core::usage::{Document, RequestId};
use entente_xmpp_core::element::Element;

use super::ledger::{Ledger, Slot};
use super::line::{Item, Line};
use crate::pidf::{self, Author, Device};
use crate::presence::{ClientKind, Presence, compose, read_stanza, render};

/// How long the first answer to a SUBSCRIBE waits for the home.
const ASKING: Duration = Duration::from_millis(300);

/// How long it waits for further resources once the first has shown itself.
const GATHERING: Duration = Duration::from_millis(30);

/// How long a watcher who is taken over waits for the home to say what it may see. Homes settle when the
/// members change: what is said before that could be a user who goes offline for a moment.
const WAKING: Duration = Duration::from_secs(10);

/// How long the home's word that the user is offline waits to be proven wrong then: the user's sessions
/// may be about to make themselves known.
const DOUBT: Duration = Duration::from_secs(3);

/// What is decided about one watcher, and what it may see: the same for all its subscriptions.
#[derive(Debug, Default)]
pub(super) struct Audience {
    pub(super) standing: Standing,
    /// The home was asked on behalf of watchers who were taken over.
    pub(super) taken_over: bool,
    /// The user's resources: name, priority and what they show. They are few.
    devices: Vec<(Box<str>, i8, Presence)>,
    /// The watcher's subscriptions.
    pub(super) slots: Vec<Slot>,
}

/// What is decided about a watcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// The home has not said.
    #[default]
    Unknown,
    Allowed,
    Denied,
}

impl Audience {
    /// Takes a presence stanza of one of the user's resources.
    pub(super) fn show(&mut self, resource: &str, presence: &Element, kind: ClientKind) {
        let state = read_stanza(presence, kind);
        if presence.get_attr("type") == Some("unavailable") {
            self.devices
                .retain(|(name, ..)| !resource.is_empty() && &**name != resource);
            return;
        }
        let priority = presence
            .get_child(presence.ns(), "priority")
            .and_then(|priority| priority.content_text().trim().parse().ok())
            .unwrap_or(0);
        match self
            .devices
            .iter_mut()
            .find(|(name, ..)| &**name == resource)
        {
            Some(known) => (known.1, known.2) = (priority, state),
            None => {
                self.devices.reserve_exact(1);
                self.devices.push((resource.into(), priority, state));
            }
        }
    }

    /// Whether the home, which may not know the user's sessions yet, is asked once more.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.taken_over && self.standing != Standing::Denied && self.devices.is_empty()
    }

    /// The document that the peer's user is to see.
    fn document(&self, ledger: &mut Ledger, line: &Line) -> Document {
        let peer = &line.peer;
        let shown = self.standing == Standing::Allowed;
        let devices: Vec<_> = self
            .devices
            .iter()
            .filter(|_| shown)
            .map(|(resource, priority, presence)| Device {
                resource,
                priority: *priority,
                presence: render(presence, peer.system),
            })
            .collect();
        let all: Vec<_> = devices
            .iter()
            .map(|device| (device.priority, device.presence.clone()))
            .collect();
        let person = compose(&all);
        let body = match peer.rules.local_to_wire(&line.user) {
            Ok(entity) => pidf::write(
                peer.style,
                &Author {
                    entity: &entity,
                    display_name: None,
                    time: None,
                },
                &person,
                &devices,
            ),
            // An address without a user has no watchers.
            Err(_) => bytes::Bytes::new(),
        };
        ledger.shared(Document {
            content_type: pidf::CONTENT_TYPE.into(),
            body,
        })
    }

    fn decision(&self, ledger: &mut Ledger, line: &Line) -> Decision {
        match self.standing {
            Standing::Unknown => Decision::Pending,
            Standing::Allowed => Decision::Active(self.document(ledger, line)),
            Standing::Denied => Decision::Polite(self.document(ledger, line)),
        }
    }
}

#[derive(Debug)]
enum Phase {
    /// The home is asked.
    Asking {
        id: RequestId,
        request: Box<Message>,
        asked: Asked,
        until: Instant,
    },
    Running(Box<Notifier>),
    /// Read from the store, and silent: the home is asked what the watcher may see now.
    Waking {
        notifier: Box<Notifier>,
        /// As the record says.
        polite: bool,
        until: Instant,
    },
    Over,
}

/// One subscription of a remote watcher.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) line: Line,
    config: Arc<NotifierConfig>,
    /// What the notifier was told last.
    decided: Standing,
    phase: Phase,
}

impl Watch {
    /// A SUBSCRIBE outside of any dialog came; the caller asks the home.
    pub(super) fn ask(
        now: Instant,
        line: Line,
        config: Arc<NotifierConfig>,
        (id, request): (RequestId, Message),
        asked: Asked,
    ) -> Self {
        Self {
            line,
            config,
            decided: Standing::Unknown,
            phase: Phase::Asking {
                id,
                request: Box::new(request),
                asked,
                until: now + ASKING,
            },
        }
    }

    /// A record of the store; the caller asks the home.
    pub(super) fn wake(
        ledger: &mut Ledger,
        line: Line,
        config: Arc<NotifierConfig>,
        stored: StoredNotifier,
    ) -> Self {
        let polite = stored.is_polite();
        let offline = Audience::default().document(ledger, &line);
        let mut notifier = Box::new(stored.wake(ledger.moment, Arc::clone(&config), offline));
        let until = ledger.now() + WAKING;
        notifier.take_over(until);
        Self {
            line: line.recorded(),
            config,
            decided: Standing::Unknown,
            phase: Phase::Waking {
                notifier,
                polite,
                until,
            },
        }
    }

    /// Our tag of the dialog, if there is one.
    pub(super) fn tag(&self) -> Option<&str> {
        match &self.phase {
            Phase::Running(notifier) | Phase::Waking { notifier, .. } => {
                Some(notifier.dialog().local_tag())
            }
            Phase::Asking { .. } | Phase::Over => None,
        }
    }

    /// Whether nobody has decided about the watcher, as far as this dialog knows.
    pub(super) fn is_pending(&self) -> bool {
        match &self.phase {
            Phase::Running(notifier) | Phase::Waking { notifier, .. } => notifier.is_pending(),
            Phase::Asking { .. } | Phase::Over => true,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Asking { until, .. } | Phase::Waking { until, .. } => Some(*until),
            Phase::Running(notifier) => notifier.poll_timeout(),
            Phase::Over => None,
        }
    }

    /// The home said something about this watcher. `told`: it has shown or hidden the user.
    pub(super) fn audience_changed(
        &mut self,
        ledger: &mut Ledger,
        audience: &Audience,
        told: bool,
    ) {
        let now = ledger.now();
        let pause = match &self.phase {
            Phase::Waking { .. } if audience.devices.is_empty() => DOUBT,
            _ => GATHERING,
        };
        match &mut self.phase {
            Phase::Asking { until, .. } | Phase::Waking { until, .. } => {
                if audience.standing == Standing::Denied {
                    *until = now;
                } else if told {
                    *until = (*until).min(now + pause);
                }
                if *until <= now {
                    self.timeout(ledger, audience);
                }
            }
            Phase::Running(notifier) => {
                match (self.decided, audience.standing) {
                    (_, Standing::Unknown) | (Standing::Denied, Standing::Denied) => {}
                    (Standing::Allowed, Standing::Allowed) => {
                        let document = audience.document(ledger, &self.line);
                        notifier.handle_input(now, Input::State(document));
                    }
                    (_, standing) => {
                        self.decided = standing;
                        let decision = audience.decision(ledger, &self.line);
                        notifier.handle_input(now, Input::Decide(decision));
                    }
                }
                self.drain(ledger);
            }
            Phase::Over => {}
        }
    }

    /// A SUBSCRIBE in the dialog.
    pub(super) fn subscribe(&mut self, ledger: &mut Ledger, id: RequestId, request: Message) {
        if matches!(self.phase, Phase::Running(_) | Phase::Waking { .. }) {
            let request = Box::new(request);
            self.notifier(ledger, Input::Subscribe { id, request });
        } else {
            ledger.respond(id, Reply::stateless(&request, Status::CALL_DOES_NOT_EXIST));
        }
    }

    pub(super) fn notifier(&mut self, ledger: &mut Ledger, input: Input) {
        if let Phase::Running(notifier) | Phase::Waking { notifier, .. } = &mut self.phase {
            notifier.handle_input(ledger.now(), input);
            self.drain(ledger);
        }
    }

    /// The subscription ends here: this node drains, or the account is gone.
    pub(super) fn end(&mut self, ledger: &mut Ledger, reason: Reason) {
        if let Phase::Asking { id, request, .. } = &self.phase {
            ledger.respond(*id, Reply::stateless(request, Status::SERVICE_UNAVAILABLE));
            self.phase = Phase::Over;
        }
        self.notifier(ledger, Input::End(reason));
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger, audience: &Audience) {
        let now = ledger.now();
        match &mut self.phase {
            Phase::Asking { until, .. } | Phase::Waking { until, .. } if *until <= now => {
                self.begin(ledger, audience);
            }
            Phase::Running(notifier) if notifier.poll_timeout().is_some_and(|at| at <= now) => {
                notifier.handle_input(now, Input::Timeout);
                self.drain(ledger);
            }
            _ => {}
        }
    }

    /// The home has said what it will say for now.
    fn begin(&mut self, ledger: &mut Ledger, audience: &Audience) {
        let now = ledger.now();
        let decision = audience.decision(ledger, &self.line);
        self.decided = audience.standing;
        let config = Arc::clone(&self.config);
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Asking {
                id, request, asked, ..
            } => {
                let owner = (ledger.settings.owner)(&self.line.user);
                let tag = ledger.settings.key.tag(&owner, &mut ledger.random);
                let first = ledger.random.first_cseq();
                let begun =
                    Notifier::accept(now, config, (id, &request), asked, (&tag, first), decision);
                match begun {
                    Ok(notifier) => self.phase = Phase::Running(Box::new(notifier)),
                    Err(_) => {
                        ledger.respond(id, Reply::stateless(&request, Status::BAD_REQUEST));
                    }
                }
            }
            Phase::Waking {
                mut notifier,
                polite,
                ..
            } => {
                // The decision of before holds until the home says another.
                let changed = match audience.standing {
                    Standing::Unknown => false,
                    Standing::Allowed => polite || notifier.is_pending(),
                    Standing::Denied => !polite,
                };
                let news = if changed {
                    Input::Decide(decision)
                } else {
                    Input::State(audience.document(ledger, &self.line))
                };
                notifier.handle_input(now, news);
                notifier.take_up(now);
                self.phase = Phase::Running(notifier);
            }
            other => self.phase = other,
        }
        self.drain(ledger);
    }

    fn drain(&mut self, ledger: &mut Ledger) {
        let moment: Moment = ledger.moment;
        let mut over = false;
        if let Phase::Running(notifier) | Phase::Waking { notifier, .. } = &mut self.phase {
            while let Some(output) = notifier.poll_output() {
                let item = match output {
                    Output::Persist => Item::Persist(notifier.encode(moment)),
                    Output::Respond { id, reply } => Item::Respond(id, reply),
                    Output::Send { id, request } => Item::Send(id, request),
                    Output::Ended(_) => {
                        over = true;
                        continue;
                    }
                };
                self.line.push(ledger, item);
            }
        }
        if over {
            self.phase = Phase::Over;
        }
    }
}
