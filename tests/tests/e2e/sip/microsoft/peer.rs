//! The peer: what it does by itself with what arrives, and what a test tells it to do.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_load::sip::{Identity, SipText, SipWriter, token, uri_of};
use ring::hmac;
use tokio::sync::Notify;

use super::check;
use super::dialog::{Dialog, Purpose, is_signed, signed_routes, uris};
use super::document::{self, Shown};
use super::wire::{Rules, Wire};
use crate::harness::{Authority, PATIENCE};

/// How long a subscription to one of its users may last.
const MAX_EXPIRES: u32 = 7200;

/// What a test says about a peer.
pub struct Settings {
    pub domain: &'static str,
    pub address: SocketAddr,
    /// The servers that its federation goes to, the first that can be reached, and the name for TLS.
    pub targets: Vec<SocketAddr>,
    pub target_name: &'static str,
    /// Whether what arrives is checked as a Microsoft server would.
    pub strict: bool,
}

/// The peer with all its users: every name in its domain is one.
#[derive(Clone)]
pub struct MicrosoftPeer {
    pub(super) rules: Arc<PeerRules>,
}

pub(super) struct PeerRules {
    pub(super) domain: &'static str,
    strict: bool,
    pub(super) wire: Arc<Wire>,
    key: Mutex<hmac::Key>,
    pub(super) dialogs: Mutex<HashMap<String, Dialog>>,
    arrived: Mutex<Vec<SipText>>,
    news: Notify,
    planned: Mutex<HashMap<String, VecDeque<Planned>>>,
    shown: Mutex<HashMap<String, Shown>>,
    recent: Mutex<VecDeque<Instant>>,
    limit: Mutex<Option<usize>>,
    pub(super) faults: Mutex<Vec<String>>,
}

/// An answer that a test wants in place of the usual one.
struct Planned {
    code: u16,
    reason: String,
    headers: Vec<(String, String)>,
}

impl MicrosoftPeer {
    /// Starts it. Its certificate names its domain, its edge and its pool.
    pub async fn start(settings: Settings, authority: &Authority) -> Self {
        let Settings {
            domain, address, ..
        } = settings;
        let names = [domain, &format!("edge.{domain}"), &format!("pool.{domain}")];
        let issued = authority.issue_for_both(domain, &names);
        let identity = Identity {
            ca: authority.certificate(),
            certificate: issued.certificate,
            key: issued.key,
        };
        let rules = Arc::new(PeerRules {
            domain,
            strict: settings.strict,
            wire: Arc::new(Wire::new(
                &identity,
                address,
                settings.targets,
                settings.target_name,
            )),
            key: Mutex::new(new_key()),
            dialogs: Mutex::default(),
            arrived: Mutex::default(),
            news: Notify::new(),
            planned: Mutex::default(),
            shown: Mutex::default(),
            recent: Mutex::default(),
            limit: Mutex::default(),
            faults: Mutex::default(),
        });
        rules.wire.listen(Arc::clone(&rules)).await;
        Self { rules }
    }

    /// An address in its domain.
    pub fn user(&self, name: &str) -> String {
        format!("{name}@{}", self.rules.domain)
    }

    /// From now on routes that were signed before are no longer valid: 504 with diagnostics 1004.
    pub fn forget_routes(&self) {
        *self.rules.key.lock().unwrap() = new_key();
    }

    /// As for a partner that was discovered, not configured: at most so many requests within a second
    /// are let in.
    pub fn throttle(&self, per_second: Option<usize>) {
        *self.rules.limit.lock().unwrap() = per_second;
    }

    /// Answers the next request with the method so.
    pub fn plan(&self, method: &str, code: u16, reason: &str, headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let planned = Planned {
            code,
            reason: reason.to_owned(),
            headers,
        };
        let mut all = self.rules.planned.lock().unwrap();
        all.entry(method.to_owned()).or_default().push_back(planned);
    }

    /// Waits for a request; it is taken away, others stay.
    pub async fn expect(&self, what: &str, wanted: impl Fn(&SipText) -> bool) -> SipText {
        self.rules.expect(what, PATIENCE, wanted).await
    }

    /// The same with a limit of one's own.
    pub async fn expect_within(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&SipText) -> bool,
    ) -> SipText {
        self.rules.expect(what, limit, wanted).await
    }

    /// Sends a request outside any dialog and waits for the answer. Via comes from here.
    pub async fn ask(&self, request: impl FnOnce(&str) -> Bytes) -> SipText {
        let via = self.rules.wire.via();
        self.rules.wire.ask(request(&via), &self.rules).await
    }

    /// OPTIONS to a domain, as edges do to see whether a partner is there.
    pub async fn probe(&self, domain: &str) -> SipText {
        let own = self.rules.domain;
        self.ask(|via| {
            SipWriter::new(format_args!("OPTIONS sip:{domain} SIP/2.0"))
                .header("Via", via)
                .header("Max-Forwards", 70)
                .header("From", format_args!("<sip:{own}>;tag={}", token()))
                .header("To", format_args!("<sip:{domain}>"))
                .header("Call-ID", token())
                .header("CSeq", "1 OPTIONS")
                .end()
        })
        .await
    }

    /// Breaks all connections, as a restart does; dialogs stay.
    pub async fn hang_up(&self) {
        self.rules.wire.hang_up().await;
    }

    /// Forgets all dialogs, as a restart does.
    pub fn forget_dialogs(&self) {
        self.rules.dialogs.lock().unwrap().clear();
    }

    /// How many connections others have opened, ever.
    pub fn accepted(&self) -> usize {
        self.rules.wire.accepted()
    }

    /// Shows one of its users so: to all who watch, with NOTIFY; each must answer 200.
    pub async fn show(&self, user: &str, shown: Shown) {
        self.rules
            .shown
            .lock()
            .unwrap()
            .insert(user.to_owned(), shown);
        for call_id in self.rules.watchers_of(user) {
            let answer = self
                .rules
                .notify(&call_id, "NOTIFY", "active;expires=3600", shown)
                .await;
            assert_eq!(answer.status(), Some(200), "{answer}");
        }
    }

    /// The same in a request that wants no answer.
    pub async fn show_without_answer(&self, user: &str, shown: Shown) {
        self.rules
            .shown
            .lock()
            .unwrap()
            .insert(user.to_owned(), shown);
        for call_id in self.rules.watchers_of(user) {
            let bytes = self
                .rules
                .notification(&call_id, "BENOTIFY", "active;expires=3600", shown);
            self.rules.wire.send(bytes, &self.rules).await.unwrap();
        }
    }

    /// Ends all subscriptions to a user, for a reason (RFC 6665 section 4.1.3).
    pub async fn end_watching(&self, user: &str, reason: &str) {
        for call_id in self.rules.watchers_of(user) {
            let state = format!("terminated;reason={reason}");
            let answer = self
                .rules
                .notify(&call_id, "NOTIFY", &state, Shown::Offline)
                .await;
            assert_eq!(answer.status(), Some(200), "{answer}");
            self.rules.dialogs.lock().unwrap().remove(&call_id);
        }
    }

    /// The watchers of a user, as addresses without scheme.
    pub fn watchers(&self, user: &str) -> Vec<String> {
        let dialogs = self.rules.dialogs.lock().unwrap();
        let mut watchers: Vec<String> = dialogs
            .values()
            .filter(|dialog| {
                dialog.purpose == Purpose::Watched && dialog.local == user && !dialog.ended
            })
            .map(|dialog| dialog.remote.clone())
            .collect();
        watchers.sort();
        watchers
    }

    /// What it objects to in what arrived so far.
    pub fn faults(&self) -> Vec<String> {
        let faults = self.rules.faults.lock().unwrap();
        faults
            .iter()
            .map(|fault| format!("{} objects: {fault}", self.rules.domain))
            .collect()
    }
}

fn new_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>())
}

impl PeerRules {
    pub(super) async fn expect(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&SipText) -> bool,
    ) -> SipText {
        let search = async {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                news.as_mut().enable();
                {
                    let mut arrived = self.arrived.lock().unwrap();
                    if let Some(at) = arrived.iter().position(&wanted) {
                        return arrived.remove(at);
                    }
                }
                news.await;
            }
        };
        match tokio::time::timeout(limit, search).await {
            Ok(found) => found,
            Err(_) => {
                let arrived: Vec<String> = self
                    .arrived
                    .lock()
                    .unwrap()
                    .iter()
                    .map(|request| {
                        format!(
                            "{} from {}",
                            request.start_line(),
                            request.header("from").unwrap_or("")
                        )
                    })
                    .collect();
                panic!(
                    "{} did not hear in {limit:?}: {what}; unread: {arrived:#?}",
                    self.domain
                )
            }
        }
    }

    pub(super) fn forget_news(&self, call_id: &str) {
        let mut arrived = self.arrived.lock().unwrap();
        arrived.retain(|request| request.call_id() != call_id);
    }

    /// Signs routes for a new dialog.
    pub(super) fn sign(&self, call_id: &str) -> Vec<String> {
        let key = self.key.lock().unwrap();
        signed_routes(&key, self.domain, self.wire.address.port(), call_id)
    }

    fn watchers_of(&self, user: &str) -> Vec<String> {
        let dialogs = self.dialogs.lock().unwrap();
        dialogs
            .values()
            .filter(|dialog| {
                dialog.purpose == Purpose::Watched && dialog.local == user && !dialog.ended
            })
            .map(|dialog| dialog.call_id.clone())
            .collect()
    }

    pub(super) fn notification(
        &self,
        call_id: &str,
        method: &str,
        state: &str,
        shown: Shown,
    ) -> Bytes {
        let mut dialogs = self.dialogs.lock().unwrap();
        let dialog = dialogs.get_mut(call_id).unwrap();
        let text = document::write(&dialog.local, shown);
        let contact = format!("<{}>", dialog.contact);
        dialog
            .request(method, &self.wire.via())
            .header("Contact", contact)
            .header("Event", "presence")
            .header("Subscription-State", state)
            .body("application/pidf+xml", text.as_bytes())
    }

    async fn notify(
        self: &Arc<Self>,
        call_id: &str,
        method: &str,
        state: &str,
        shown: Shown,
    ) -> SipText {
        let bytes = self.notification(call_id, method, state, shown);
        self.wire.ask(bytes, self).await
    }

    fn throttled(&self) -> bool {
        let Some(limit) = *self.limit.lock().unwrap() else {
            return false;
        };
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap();
        while recent
            .front()
            .is_some_and(|at| now - *at > Duration::from_secs(1))
        {
            recent.pop_front();
        }
        if recent.len() >= limit {
            return true;
        }
        recent.push_back(now);
        false
    }

    /// The usual answer. The request was not asked for otherwise.
    fn answer(self: &Arc<Self>, request: &SipText) -> Vec<Bytes> {
        let method = request.method().unwrap_or("");
        if method != "ACK" && self.throttled() {
            return vec![
                request
                    .answer(503, "Service Unavailable", &token())
                    .header("Retry-After", 1)
                    .header(
                        "ms-diagnostics",
                        "1034;reason=\"Too many requests from this partner\"",
                    )
                    .end(),
            ];
        }
        let planned = self
            .planned
            .lock()
            .unwrap()
            .get_mut(method)
            .and_then(VecDeque::pop_front);
        if let Some(planned) = planned {
            let mut answer = request.answer(planned.code, &planned.reason, &token());
            for (name, value) in &planned.headers {
                answer = answer.header(name, value);
            }
            return vec![answer.end()];
        }
        if request.to_tag().is_some() {
            return self.answer_inside(request);
        }
        match method {
            "OPTIONS" => vec![
                request
                    .answer(200, "OK", &token())
                    .header(
                        "Allow",
                        "INVITE, ACK, CANCEL, OPTIONS, BYE, MESSAGE, SUBSCRIBE, NOTIFY, INFO",
                    )
                    .header("Accept", "application/sdp, application/pidf+xml")
                    .end(),
            ],
            "INVITE" => self.answer_first(Purpose::Session, request),
            "SUBSCRIBE" => self.answer_first(Purpose::Watched, request),
            "MESSAGE" | "NOTIFY" | "BYE" | "INFO" => {
                vec![
                    request
                        .answer(481, "Call Leg/Transaction Does Not Exist", &token())
                        .end(),
                ]
            }
            _ => vec![request.answer(405, "Method Not Allowed", &token()).end()],
        }
    }

    fn answer_first(self: &Arc<Self>, purpose: Purpose, request: &SipText) -> Vec<Bytes> {
        let mut dialog = Dialog::asked(purpose, request);
        dialog.signed = self.sign(&dialog.call_id);
        let mut answer = request.answer(200, "OK", &dialog.local_tag);
        // Written by edge and pool on the way to the user, the last one on top.
        for value in dialog.signed.iter().rev() {
            answer = answer.header("Record-Route", value);
        }
        answer = answer
            .header("Contact", format_args!("<{}>", dialog.contact))
            .header(
                "ms-edge-proxy-message-trust",
                "ms-source-type=InternetUser;ms-source-verified-user=verified",
            );
        let call_id = dialog.call_id.clone();
        let address = self.wire.address;
        self.dialogs.lock().unwrap().insert(call_id.clone(), dialog);
        match purpose {
            Purpose::Session => vec![answer.body("application/sdp", sdp(address).as_bytes())],
            _ => {
                let granted = expires(request).min(MAX_EXPIRES);
                self.tell_soon(&call_id, granted);
                vec![answer.header("Expires", granted).end()]
            }
        }
    }

    fn answer_inside(self: &Arc<Self>, request: &SipText) -> Vec<Bytes> {
        let method = request.method().unwrap_or("");
        let mut dialogs = self.dialogs.lock().unwrap();
        let found = dialogs
            .get_mut(request.call_id())
            .filter(|dialog| request.to_tag() == Some(&dialog.local_tag) && !dialog.ended);
        let Some(dialog) = found else {
            return match method {
                "ACK" => Vec::new(),
                _ => vec![
                    request
                        .answer(481, "Call Leg/Transaction Does Not Exist", "")
                        .end(),
                ],
            };
        };
        if dialog.remote_tag.is_none() {
            // NOTIFY before the answer to SUBSCRIBE (RFC 6665 section 4.1.2.4).
            dialog.remote_tag = request.from_tag().map(str::to_owned);
        }
        let mut faults = dialog.faults_of(request);
        dialog.remote_cseq = request.cseq();
        let routes = request.values("route");
        let known = uris(&routes) == uris(&dialog.signed);
        if !known {
            faults.push(format!(
                "the route set is not {:?}:\n{request}",
                dialog.signed
            ));
        }
        let valid = {
            let key = self.key.lock().unwrap();
            routes
                .iter()
                .all(|route| is_signed(&key, route, &dialog.call_id))
        };
        self.faults.lock().unwrap().extend(faults);
        if ["ACK", "BENOTIFY"].contains(&method) {
            return Vec::new();
        }
        if !known || !valid {
            dialog.ended = true;
            return vec![
                request
                    .answer(504, "Server time-out", "")
                    .header(
                        "ms-diagnostics",
                        "1004;reason=\"Route set is no longer valid\"",
                    )
                    .end(),
            ];
        }
        dialog.learn_target(request);
        let answer = request.answer(200, "OK", "");
        match method {
            "BYE" => {
                dialog.ended = true;
                vec![answer.end()]
            }
            "SUBSCRIBE" => {
                let granted = expires(request).min(MAX_EXPIRES);
                dialog.ended = granted == 0;
                let (call_id, contact) = (dialog.call_id.clone(), dialog.contact.clone());
                drop(dialogs);
                self.tell_soon(&call_id, granted);
                vec![
                    answer
                        .header("Contact", format_args!("<{contact}>"))
                        .header("Expires", granted)
                        .end(),
                ]
            }
            "INVITE" => vec![answer.body("application/sdp", sdp(self.wire.address).as_bytes())],
            _ => vec![answer.end()],
        }
    }

    /// The first NOTIFY of a subscription, or the one after a refresh.
    fn tell_soon(self: &Arc<Self>, call_id: &str, granted: u32) {
        let (rules, call_id) = (Arc::clone(self), call_id.to_owned());
        tokio::spawn(async move {
            let local = rules.dialogs.lock().unwrap()[&call_id].local.clone();
            let shown = rules.shown.lock().unwrap().get(&local).copied();
            let state = match granted {
                0 => "terminated;reason=timeout".to_owned(),
                _ => format!("active;expires={granted}"),
            };
            let shown = shown.unwrap_or(Shown::Offline);
            let answer = rules.notify(&call_id, "NOTIFY", &state, shown).await;
            let done = answer.status() == Some(200);
            if granted == 0 || !done {
                rules.dialogs.lock().unwrap().remove(&call_id);
            }
            if !done {
                let fault = format!("NOTIFY for {local} was answered so:\n{answer}");
                rules.faults.lock().unwrap().push(fault);
            }
        });
    }
}

impl Rules for PeerRules {
    fn arrived(self: &Arc<Self>, request: SipText) -> Vec<Bytes> {
        if self.strict {
            self.faults
                .lock()
                .unwrap()
                .extend(check::faults_of(&request));
        }
        let answers = self.answer(&request);
        self.arrived.lock().unwrap().push(request);
        self.news.notify_waiters();
        answers
    }

    fn stray(&self, response: &SipText) {
        let fault = format!("a response that answers nothing:\n{response}");
        self.faults.lock().unwrap().push(fault);
    }
}

fn expires(request: &SipText) -> u32 {
    let asked = request.header("expires").and_then(|text| text.parse().ok());
    asked.unwrap_or(MAX_EXPIRES)
}

/// The session description of Office Communicator.
pub(super) fn sdp(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "v=0\r\no=- 0 0 IN IP4 {ip}\r\ns=session\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=message 5060 sip null\r\n\
         a=accept-types:text/plain multipart/alternative image/gif text/rtf text/html application/x-ms-ink \
         application/ms-imdn+xml text/x-msmsgsinvite\r\n"
    )
}

/// Whether a request goes to this user (address without scheme) by its To.
pub fn is_to(request: &SipText, user: &str) -> bool {
    uri_of(request.header("to").unwrap_or("")) == format!("sip:{user}")
}
