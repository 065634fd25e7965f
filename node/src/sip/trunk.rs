//! What goes out to one peer: a queue at the peer's pace, and the connection under it, opened on demand
//! at the first server that works.
//!
//! When no server can be had, everything that waits fails, and the trunk backs off for 1 s, doubling to
//! 60 s. What comes meanwhile waits for the next attempt.
//!
//! A connection that carried dialogs and is lost is dialled again without anything to send: when the peer
//! is there again, all gateways refresh what they have with it (requirement H7).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entente_sip_core::draft::Draft;
use entente_sip_core::header::HeaderName;
use entente_sip_core::method::Method;
use entente_sip_core::name_addr::NameAddr;
use entente_sip_core::transaction::Failure;
use rand::Rng;
use tokio::sync::Notify;

use super::failure::ConnectFailure;
use super::link::Link;
use super::outbound;
use super::pacer::{Class, Full, Pacer, Turn};
use super::port::{Acking, Outcome, SendFailure, Sending, SipCall};
use super::service::SipService;
use super::transactions::Job;
use crate::clock::{now, until};
use crate::config::SipPeerConfig;

/// The first pause after all servers failed.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// How long a peer is dialled that is missed. The longest subscriptions are over by then.
const MISSED: Duration = Duration::from_secs(2 * 3600);
/// How long a server that refused or did not answer is tried last.
const AVOIDED: Duration = Duration::from_secs(60);
/// Servers that one request is given to.
const MAX_ATTEMPTS: u32 = 3;

/// What a trunk is for. A peer with servers of its own has one for each of our identities; one that is
/// found by DNS has them for each of its domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TrunkKey {
    pub(super) peer: Arc<str>,
    /// The peer's domain, with U-labels.
    pub(super) domain: Arc<str>,
    /// Our domain, in A-labels: whose certificate is shown.
    pub(super) local: Arc<str>,
}

/// One thing to send.
#[derive(Debug, Clone)]
pub(super) enum Parcel {
    Request {
        sending: Box<Sending>,
        /// Servers that it was given to.
        attempts: u32,
    },
    Ack(Box<Acking>),
}

impl Parcel {
    pub(super) fn draft(&self) -> &Draft {
        match self {
            Self::Request { sending, .. } => &sending.draft,
            Self::Ack(acking) => &acking.draft,
        }
    }

    pub(super) fn user(&self) -> u64 {
        match self {
            Self::Request { sending, .. } => sending.user,
            Self::Ack(acking) => acking.user,
        }
    }

    /// Whether it belongs to a dialog that exists.
    pub(super) fn is_in_dialog(&self) -> bool {
        let to = self.draft().get(HeaderName::To).and_then(NameAddr::parse);
        to.is_some_and(|to| to.tag().is_some())
    }

    /// Whether it begins a dialog or belongs to one.
    pub(super) fn is_of_dialog(&self) -> bool {
        matches!(self.draft().method(), Method::Subscribe | Method::Invite) || self.is_in_dialog()
    }

    fn class(&self) -> Class {
        match self.draft().method() {
            Method::Subscribe | Method::Notify => Class::Presence,
            _ => Class::Talk,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) key: TrunkKey,
    queue: Mutex<Queue>,
    wake: Notify,
    /// The peer is there: a pause between attempts is over.
    spoke: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Queue {
    pacer: Pacer<Parcel>,
    /// The task is gone.
    retired: bool,
}

/// What is shown, and what is known of the servers.
#[derive(Debug, Default)]
struct State {
    link: Option<Arc<Link>>,
    /// Servers to try last, until when.
    avoided: HashMap<(String, u16), Instant>,
    /// The server that the link leads to.
    server: Option<(String, u16)>,
    servers: usize,
    last_error: Option<String>,
    backing_off: bool,
    /// The link was lost, and the peer is dialled until then.
    missed: Option<Instant>,
}

/// For the status.
#[derive(Debug, Clone)]
pub(super) struct TrunkState {
    pub(super) state: &'static str,
    pub(super) server: Option<String>,
    pub(super) queued: usize,
    pub(super) last_error: Option<String>,
}

/// What became of a parcel that was offered.
pub(super) enum Offer {
    Taken,
    Full(Parcel),
    /// The trunk is gone; make another.
    Retired(Parcel),
}

impl Trunk {
    pub(super) fn new(key: TrunkKey, peer: &SipPeerConfig, room: usize) -> Self {
        Self {
            key,
            queue: Mutex::new(Queue {
                pacer: Pacer::new(peer.requests_per_second, room),
                retired: false,
            }),
            wake: Notify::new(),
            spoke: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Queues `parcel`.
    pub(super) fn offer(&self, parcel: Parcel) -> Offer {
        let pushed = {
            let mut queue = self.queue();
            if queue.retired {
                return Offer::Retired(parcel);
            }
            queue.pacer.push(parcel.class(), parcel.user(), parcel)
        };
        match pushed {
            Ok(()) => {
                self.wake.notify_one();
                Offer::Taken
            }
            Err(Full(parcel)) => Offer::Full(parcel),
        }
    }

    /// Takes out an INVITE that is not wanted any more and still waits; `None` if it went out.
    pub(super) fn withdraw(&self, call: &SipCall) -> Option<Parcel> {
        let is_it = |parcel: &Parcel| matches!(parcel, Parcel::Request { sending, .. } if sending.call == *call);
        self.queue().pacer.take(is_it)
    }

    /// The server refused or did not answer: gives the parcel to another one, and leaves the server for
    /// a while. `Err`: there is no other.
    pub(super) fn elsewhere(&self, now: Instant, parcel: Parcel) -> Result<(), Parcel> {
        let Parcel::Request { sending, attempts } = parcel else {
            return Err(parcel);
        };
        {
            let mut state = self.state();
            if state.servers < 2 || attempts + 1 >= MAX_ATTEMPTS {
                return Err(Parcel::Request { sending, attempts });
            }
            // Its connection goes on for what is under way.
            state.link = None;
            if let Some(server) = state.server.take() {
                state.avoided.insert(server, now + AVOIDED);
            }
        }
        let parcel = Parcel::Request {
            sending,
            attempts: attempts + 1,
        };
        let mut queue = self.queue();
        if queue.retired {
            return Err(parcel);
        }
        let (class, user) = (parcel.class(), parcel.user());
        queue.pacer.put_back(class, user, parcel);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// The peer refused something, perhaps with words for the operator.
    pub(super) fn complained(&self, status: u16, words: Option<String>) {
        if let Some(words) = words {
            tracing::warn!(peer = %self.key.peer, domain = %self.key.domain, status, words, "a SIP peer complains");
            self.state().last_error = Some(format!("{status}, {words}"));
        } else if status >= 500 {
            self.state().last_error = Some(format!("refused with {status}"));
        }
    }

    /// The peer did not answer.
    pub(super) fn unanswered(&self, failure: Failure) {
        self.state().last_error = Some(failure.to_string());
    }

    pub(super) fn status(&self) -> TrunkState {
        let queued = self.queue().pacer.len();
        let state = self.state();
        TrunkState {
            state: match &state.link {
                Some(link) if link.is_open() => "established",
                _ if state.backing_off => "backing off",
                _ if queued > 0 => "connecting",
                _ => "idle",
            },
            server: state
                .server
                .as_ref()
                .map(|(host, port)| format!("{host}:{port}")),
            queued,
            last_error: state.last_error.clone(),
        }
    }

    /// The peer has opened a connection to us.
    pub(super) fn peer_spoke(&self) {
        if self.state().backing_off {
            self.spoke.notify_one();
        }
    }

    /// Another node found the peer there again, and has told all gateways.
    pub(super) fn reached_by_another_node(&self) {
        self.state().missed = None;
        self.peer_spoke();
    }

    /// Notices that the link is lost; whether the peer is missed.
    fn misses(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|link| link.is_missed()) {
            state.link = None;
            state.missed.get_or_insert(now + MISSED);
        }
        if state.missed.is_some_and(|until| until <= now) {
            state.missed = None;
        }
        state.missed.is_some()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue().pacer.len() == 0
    }

    /// The servers that are to be tried last.
    pub(super) fn avoided(&self, now: Instant) -> Vec<(String, u16)> {
        let mut state = self.state();
        state.avoided.retain(|_, until| *until > now);
        state.avoided.keys().cloned().collect()
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.state().link.clone().filter(|link| link.is_open())
    }
}

/// Serves a trunk until it has been idle for long.
pub(super) async fn serve(service: Arc<SipService>, trunk: Arc<Trunk>) {
    let mut backoff = Backoff::default();
    loop {
        let missed = trunk.misses(now());
        let turn = trunk.queue().pacer.turn(now());
        match turn {
            Turn::Wait(at) => until(Some(at)).await,
            Turn::Empty if missed => {
                if connect(&service, &trunk, &mut backoff).await.is_none() {
                    unreachable(&service, &trunk, &mut backoff, None).await;
                }
            }
            Turn::Empty => {
                let idle = now() + service.config.idle;
                let link = trunk.link();
                tokio::select! {
                    () = trunk.wake.notified() => {}
                    () = closed(link.as_deref()) => {}
                    () = until(Some(idle)) => {
                        if trunk.link().is_none() && retire(&service, &trunk) {
                            return;
                        }
                    }
                }
            }
            Turn::Send(parcel) => send(&service, &trunk, &mut backoff, parcel).await,
        }
    }
}

/// Takes the trunk out of service, unless something came meanwhile.
fn retire(service: &SipService, trunk: &Arc<Trunk>) -> bool {
    let mut queue = trunk.queue();
    if queue.pacer.len() > 0 {
        return false;
    }
    queue.retired = true;
    drop(queue);
    service.remove(trunk);
    true
}

async fn send(
    service: &Arc<SipService>,
    trunk: &Arc<Trunk>,
    backoff: &mut Backoff,
    parcel: Parcel,
) {
    let link = match trunk.link() {
        Some(link) => link,
        None => match connect(service, trunk, backoff).await {
            Some(link) => link,
            None => return unreachable(service, trunk, backoff, Some(parcel)).await,
        },
    };
    let job = Job::Send {
        link,
        trunk: Arc::clone(trunk),
        parcel,
    };
    service.submit(job).await;
}

/// Waits for the end of a link; for ever without one.
async fn closed(link: Option<&Link>) {
    match link {
        Some(link) => link.closed().await,
        None => std::future::pending().await,
    }
}

/// No server can be had: what waits fails, and there is a pause.
async fn unreachable(
    service: &Arc<SipService>,
    trunk: &Arc<Trunk>,
    backoff: &mut Backoff,
    parcel: Option<Parcel>,
) {
    let mut failed = Vec::from_iter(parcel);
    failed.extend(trunk.queue().pacer.take_all());
    metrics::counter!("entente_sip_unreachable_requests_total").increment(failed.len() as u64);
    for parcel in failed {
        service.outcome(&parcel, Outcome::Failed(SendFailure::Unreachable));
    }
    backoff.rest(trunk).await;
}

/// A connection that the peer opened and lets us use, or one of our own.
async fn connect(
    service: &Arc<SipService>,
    trunk: &Arc<Trunk>,
    backoff: &mut Backoff,
) -> Option<Arc<Link>> {
    // The link may have been lost since the last look.
    trunk.misses(now());
    let peer = service.policy().sip.peers.get(&*trunk.key.peer).cloned();
    let Some(peer) = peer else {
        trunk.state().last_error = Some(ConnectFailure::NotConfigured.to_string());
        return None;
    };
    trunk.queue().pacer.set_pace(peer.requests_per_second);
    // Servers that an operator wrote down serve all of the peer's domains.
    let domain = peer.targets.is_empty().then_some(&*trunk.key.domain);
    if let Some(link) = service.links.back_to(&peer.name, domain) {
        trunk.state().link = Some(Arc::clone(&link));
        arrived(service, trunk, backoff);
        return Some(link);
    }
    let avoided = trunk.avoided(now());
    match Box::pin(outbound::open(service, &peer, &trunk.key, &avoided)).await {
        Ok(opened) => {
            {
                let mut state = trunk.state();
                state.link = Some(Arc::clone(&opened.link));
                state.server = Some(opened.server);
                state.servers = opened.servers;
            }
            arrived(service, trunk, backoff);
            Some(opened.link)
        }
        Err(failure) => {
            tracing::warn!(peer = %peer.name, domain = %trunk.key.domain, %failure, "a SIP peer can't be reached");
            trunk.state().last_error = Some(failure.to_string());
            None
        }
    }
}

/// There is a link. If there was none for a while, the gateways hear of it.
fn arrived(service: &SipService, trunk: &Trunk, backoff: &mut Backoff) {
    let was_down = backoff.reset();
    let was_missed = {
        let mut state = trunk.state();
        if was_down {
            state.last_error = None;
        }
        state.missed.take().is_some()
    };
    if was_down || was_missed {
        service.peer_up(&trunk.key.peer);
    }
}

/// The pauses between attempts.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Waits for the next attempt: the doubled pause, with a fifth of it at random, so that nodes do not
    /// all come at once.
    async fn rest(&mut self, trunk: &Trunk) {
        let pause = BACKOFF * 2_u32.saturating_pow(self.failures.min(6));
        self.failures += 1;
        let jitter = rand::rng().random_range(0.8..1.2);
        let at = now() + pause.min(MAX_BACKOFF).mul_f64(jitter);
        trunk.state().backing_off = true;
        tokio::select! {
            () = until(Some(at)) => {}
            () = trunk.spoke.notified() => {}
        }
        trunk.state().backing_off = false;
    }

    /// It worked; whether it had not before.
    fn reset(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::tests::peer;
    use super::*;

    fn parcel(method: Method, to: &str) -> Parcel {
        let mut draft = Draft::new(method, "sip:bob@foreign.example");
        draft.header(HeaderName::To, to);
        let call = SipCall {
            node: "a".into(),
            epoch: 1,
            shard: 0,
            id: 1,
        };
        Parcel::Request {
            sending: Box::new(Sending {
                call,
                user: 7,
                peer: "partner".into(),
                domain: "foreign.example".into(),
                draft,
            }),
            attempts: 0,
        }
    }

    fn trunk() -> Trunk {
        let key = TrunkKey {
            peer: "partner".into(),
            domain: "foreign.example".into(),
            local: "siena.example".into(),
        };
        Trunk::new(key, &peer(), 2)
    }

    #[test]
    fn a_dialog_is_known_by_the_tag_of_to() {
        assert!(!parcel(Method::Message, "<sip:bob@foreign.example>").is_in_dialog());
        assert!(parcel(Method::Message, "<sip:bob@foreign.example>;tag=1").is_in_dialog());
    }

    #[test]
    fn a_full_trunk_takes_no_more() {
        let trunk = trunk();
        let one = || parcel(Method::Subscribe, "<sip:bob@foreign.example>");
        assert!(matches!(trunk.offer(one()), Offer::Taken));
        assert!(matches!(trunk.offer(one()), Offer::Taken));
        assert!(matches!(trunk.offer(one()), Offer::Full(_)));
        assert_eq!(trunk.status().queued, 2);
    }

    #[test]
    fn what_still_waits_can_be_withdrawn() {
        let trunk = trunk();
        let one = parcel(Method::Invite, "<sip:bob@foreign.example>");
        let Parcel::Request { sending, .. } = &one else {
            unreachable!("it is a request")
        };
        let call = sending.call.clone();
        assert!(trunk.withdraw(&call).is_none());
        assert!(matches!(trunk.offer(one), Offer::Taken));
        assert!(trunk.withdraw(&call).is_some());
        assert!(trunk.is_empty() && trunk.withdraw(&call).is_none());
    }

    #[test]
    fn another_server_is_asked_only_where_there_is_one_and_not_for_ever() {
        let trunk = trunk();
        let one = parcel(Method::Subscribe, "<sip:bob@foreign.example>");
        let one = trunk.elsewhere(now(), one).unwrap_err();
        {
            let mut state = trunk.state();
            state.servers = 2;
            state.server = Some(("a".to_owned(), 5061));
        }
        assert!(trunk.elsewhere(now(), one).is_ok());
        assert_eq!(trunk.avoided(now()), [("a".to_owned(), 5061)]);
        let mut again = parcel(Method::Subscribe, "<sip:bob@foreign.example>");
        if let Parcel::Request { attempts, .. } = &mut again {
            *attempts = MAX_ATTEMPTS - 1;
        }
        assert!(trunk.elsewhere(now(), again).is_err());
    }
}
