//! We notify a remote watcher.

use super::*;
use crate::dialog::DialogId;
use crate::subscription::notifier::*;
use crate::subscription::screen::{Refusal, screen};
use crate::transaction::Failure;

/// A watcher of alice at our side.
struct Watcher {
    core: Notifier,
    now: Instant,
    cseq: u32,
    sends: Vec<(SendId, Message)>,
}

fn config() -> Arc<NotifierConfig> {
    Arc::new(NotifierConfig::of(
        &Profile::microsoft_lync(),
        "<sip:sip.entente.example:5061;transport=tls>",
    ))
}

fn subscribe(to_tag: &str, cseq: u32, expires: u32) -> Message {
    message(&format!(
        "SUBSCRIBE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bKnashds7
         Record-Route: <sip:edge.contoso.example;transport=tls;lr;ms-route-sig=x>
         From: <sip:bob@contoso.example>;tag=bobs
         To: <sip:alice@entente.example>{to_tag}
         Call-ID: 2010@contoso.example
         CSeq: {cseq} SUBSCRIBE
         Contact: <sip:bob@contoso.example;gruu>
         Event: presence
         Accept: application/msrtc-event-categories+xml, application/pidf+xml
         Expires: {expires}"
    ))
}

impl Watcher {
    fn open(expires: u32, decision: Decision) -> (Self, Vec<String>) {
        let now = start();
        let request = subscribe("", 1, expires);
        let config = config();
        let asked = screen(&request, config.min_expires, config.max_expires).unwrap();
        let core = Notifier::accept(
            now,
            config,
            (RequestId(1), &request),
            asked,
            ("ours", 10),
            decision,
        )
        .unwrap();
        let mut watcher = Self {
            core,
            now,
            cseq: 1,
            sends: Vec::new(),
        };
        let said = watcher.said();
        (watcher, said)
    }

    fn active(expires: u32) -> Self {
        let (mut watcher, _) = Self::open(expires, Decision::Active(document("open")));
        watcher.ok();
        watcher
    }

    fn input(&mut self, input: Input) -> Vec<String> {
        self.core.handle_input(self.now, input);
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = self.core.poll_output() {
            said.push(match output {
                Output::Persist => "persist".to_owned(),
                Output::Respond { reply, .. } => {
                    let response = read(reply.to_bytes());
                    let status = response.status().unwrap();
                    format!(
                        "{status} expires {}",
                        header(&response, HeaderName::Expires)
                    )
                }
                Output::Send { id, request } => {
                    let request = sent(&request);
                    let state = header(&request, HeaderName::SubscriptionState);
                    let body = String::from_utf8_lossy(request.body());
                    let said = format!("NOTIFY {state} [{body}]");
                    self.sends.push((id, request));
                    said
                }
                Output::Ended(ending) => format!("{ending:?}"),
            });
        }
        said
    }

    fn answered(&mut self, code: u16, headers: &[(HeaderName, &str)]) -> Vec<String> {
        let (id, request) = self.sends.last().cloned().unwrap();
        let outcome = response(&request, code, headers);
        self.input(Input::Answer { id, outcome })
    }

    fn ok(&mut self) -> Vec<String> {
        self.answered(200, &[])
    }

    fn refresh(&mut self, expires: u32) -> Vec<String> {
        self.cseq += 1;
        let request = Box::new(subscribe(";tag=ours", self.cseq, expires));
        let id = RequestId(self.cseq.into());
        self.input(Input::Subscribe { id, request })
    }

    fn state(&mut self, text: &str) -> Vec<String> {
        self.input(Input::State(document(text)))
    }

    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.now += secs(seconds);
        self.input(Input::Timeout)
    }
}

#[test]
fn a_watcher_gets_200_and_the_state_at_once_and_the_record_first() {
    let (watcher, said) = Watcher::open(3600, Decision::Active(document("open")));
    assert_eq!(
        said,
        [
            "persist",
            "200 expires 3600",
            "NOTIFY active;expires=3600 [open]"
        ]
    );
    let (_, notify) = &watcher.sends[0];
    assert_eq!(header(notify, HeaderName::Event), "presence");
    assert_eq!(header(notify, HeaderName::CSeq), "11 NOTIFY");
    assert_eq!(
        header(notify, HeaderName::Route),
        "<sip:edge.contoso.example;transport=tls;lr;ms-route-sig=x>"
    );
    assert_eq!(
        header(notify, HeaderName::To),
        "<sip:bob@contoso.example>;tag=bobs"
    );
}

#[test]
fn a_pending_watcher_is_notified_at_once_without_a_document_and_again_when_allowed() {
    let (mut watcher, said) = Watcher::open(3600, Decision::Pending);
    assert_eq!(said[2], "NOTIFY pending;expires=3600 []");
    watcher.ok();
    assert!(
        watcher.state("open").is_empty(),
        "no state before a decision"
    );
    watcher.after(60);
    assert_eq!(
        watcher.input(Input::Decide(Decision::Active(document("open")))),
        ["persist", "NOTIFY active;expires=3540 [open]"]
    );
}

#[test]
fn a_politely_blocked_watcher_looks_like_one_of_somebody_offline() {
    let (mut blocked, said_blocked) = Watcher::open(3600, Decision::Polite(document(OFFLINE)));
    let (_, said_active) = Watcher::open(3600, Decision::Active(document(OFFLINE)));
    assert_eq!(said_blocked, said_active);
    blocked.ok();
    blocked.after(60);
    assert!(blocked.state("open").is_empty());
    assert_eq!(
        blocked.refresh(3600),
        [
            "persist".to_owned(),
            "200 expires 3600".to_owned(),
            format!("NOTIFY active;expires=3600 [{OFFLINE}]")
        ]
    );
}

#[test]
fn expires_is_never_granted_above_what_was_asked_or_is_allowed() {
    assert_eq!(
        Watcher::open(600, Decision::Pending).1[1],
        "200 expires 600"
    );
    assert_eq!(
        Watcher::open(86_400, Decision::Pending).1[1],
        "200 expires 7200"
    );
    assert_eq!(
        screen(&subscribe("", 1, 10), secs(60), secs(7200)),
        Err(Refusal::TooBrief { min: 60 })
    );
    let reply = Refusal::TooBrief { min: 60 }.reply(&subscribe("", 1, 10), "t");
    let reply = read(reply.to_bytes());
    assert_eq!(reply.status(), Some(Status::INTERVAL_TOO_BRIEF));
    assert_eq!(header(&reply, HeaderName::MinExpires), "60");
}

#[test]
fn other_events_and_documents_are_refused_with_what_we_have() {
    let other = |from: &str, to: &str| {
        let text = String::from_utf8(subscribe("", 1, 3600).as_bytes().to_vec()).unwrap();
        read(Bytes::from(text.replace(from, to)))
    };
    for (request, refusal) in [
        (other("Event: presence", "Event: dialog"), Refusal::BadEvent),
        (
            other("Event: presence", "X-Event: presence"),
            Refusal::BadEvent,
        ),
        (
            other("application/pidf+xml", "application/xpidf+xml"),
            Refusal::NotAcceptable,
        ),
        (other("Expires: 3600", "Expires: soon"), Refusal::Malformed),
    ] {
        assert_eq!(screen(&request, secs(60), secs(7200)), Err(refusal));
    }
    let any = other("application/pidf+xml", "*/*;q=0.1");
    assert!(screen(&any, secs(60), secs(7200)).is_ok());
}

#[test]
fn states_within_the_gap_wait_and_the_newest_wins() {
    let mut watcher = Watcher::active(3600);
    assert!(watcher.state("busy").is_empty());
    assert!(watcher.state("away").is_empty());
    assert_eq!(
        watcher.core.next_timer().unwrap().1,
        NotifierTimer::NotifyGap
    );
    assert_eq!(watcher.after(5), ["NOTIFY active;expires=3595 [away]"]);
    watcher.ok();
    assert_eq!(watcher.core.next_timer().unwrap().1, NotifierTimer::Expiry);
}

#[test]
fn one_notify_is_on_its_way_at_a_time() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    watcher.state("busy");
    watcher.now += secs(10);
    assert!(watcher.state("away").is_empty());
    assert_eq!(
        watcher.core.next_timer().unwrap().1,
        NotifierTimer::NotifyAnswer
    );
    assert_eq!(watcher.ok(), ["NOTIFY active;expires=3530 [away]"]);
}

#[test]
fn the_same_state_is_not_told_twice() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    assert!(watcher.state("open").is_empty());
}

#[test]
fn a_fetch_gets_the_state_and_is_over() {
    let (mut watcher, said) = Watcher::open(0, Decision::Active(document("open")));
    assert_eq!(
        said,
        [
            "persist",
            "200 expires 0",
            "NOTIFY terminated;reason=timeout [open]"
        ]
    );
    assert_eq!(watcher.ok(), ["Told(Timeout)"]);
    assert_eq!(watcher.core.poll_timeout(), None);
}

#[test]
fn a_pending_fetch_learns_nothing() {
    let (_, said) = Watcher::open(0, Decision::Pending);
    assert_eq!(said[2], "NOTIFY terminated;reason=timeout []");
}

#[test]
fn unsubscribing_while_a_notify_is_on_its_way_ends_after_it() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    watcher.state("busy");
    assert_eq!(watcher.refresh(0), ["persist", "200 expires 0"]);
    assert!(
        watcher.ok().is_empty(),
        "the gap holds for the last one too"
    );
    assert_eq!(
        watcher.after(5),
        ["NOTIFY terminated;reason=timeout [busy]"]
    );
    assert_eq!(watcher.refresh(3600), ["481 expires -"]);
    assert_eq!(watcher.ok(), ["Told(Timeout)"]);
}

#[test]
fn a_refresh_prolongs_and_brings_the_whole_state() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(3000);
    assert_eq!(
        watcher.refresh(3600),
        [
            "persist",
            "200 expires 3600",
            "NOTIFY active;expires=3600 [open]"
        ]
    );
    watcher.ok();
    assert!(
        watcher.after(3000).is_empty(),
        "it would have run out before"
    );
}

#[test]
fn a_subscription_that_is_not_refreshed_ends_with_timeout() {
    let mut watcher = Watcher::active(3600);
    assert_eq!(
        watcher.after(3600),
        ["NOTIFY terminated;reason=timeout [open]"]
    );
    assert_eq!(watcher.ok(), ["Told(Timeout)"]);
}

#[test]
fn numbers_that_go_back_get_500_and_a_repeat_is_answered_again() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    watcher.cseq = 8;
    watcher.refresh(3600);
    watcher.ok();
    watcher.now += secs(60);
    watcher.cseq = 8;
    assert_eq!(watcher.refresh(3600), ["persist", "200 expires 3600"]);
    watcher.cseq = 4;
    assert_eq!(watcher.refresh(3600), ["500 expires -"]);
}

#[test]
fn a_watcher_that_does_not_know_us_or_never_answers_is_gone() {
    for code in [404, 408, 481, 489] {
        let (mut watcher, _) = Watcher::open(3600, Decision::Pending);
        let ended = format!("Gone(Status({code}))");
        assert_eq!(watcher.answered(code, &[]), [ended]);
        assert_eq!(watcher.core.poll_timeout(), None);
    }
    let (mut watcher, _) = Watcher::open(3600, Decision::Pending);
    assert_eq!(watcher.after(300), ["Gone(Status(408))"]);
}

#[test]
fn a_busy_watcher_is_asked_again_after_its_retry_after_and_given_up_in_the_end() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    watcher.state("busy");
    assert!(
        watcher
            .answered(503, &[(HeaderName::RetryAfter, "60")])
            .is_empty()
    );
    watcher.state("away");
    assert!(watcher.after(59).is_empty());
    assert_eq!(watcher.after(1), ["NOTIFY active;expires=3480 [away]"]);
    for _ in 0..3 {
        assert!(watcher.answered(503, &[]).is_empty());
        assert_eq!(watcher.after(30).len(), 1);
    }
    assert_eq!(watcher.answered(503, &[]), ["Gone(Status(503))"]);
}

#[test]
fn what_does_not_get_there_is_said_again_as_long_as_the_subscription_runs() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(60);
    watcher.state("busy");
    // Never sooner than the gap.
    for pause in [5, 5, 8, 16, 32, 60, 60] {
        let (id, _) = watcher.sends.last().cloned().unwrap();
        let outcome = Outcome::Failed(Failure::Transport);
        assert!(watcher.input(Input::Answer { id, outcome }).is_empty());
        assert!(watcher.after(pause - 1).is_empty(), "{pause}");
        assert_eq!(watcher.after(1).len(), 1, "{pause}");
    }
    let (id, _) = watcher.sends.last().cloned().unwrap();
    let outcome = Outcome::Failed(Failure::Transport);
    watcher.input(Input::Answer { id, outcome });
    assert_eq!(watcher.input(Input::Reachable).len(), 1, "the peer is back");
    watcher.ok();
    watcher.state("away");
    assert!(watcher.input(Input::Reachable).is_empty(), "the gap holds");
}

#[test]
fn an_edge_that_lost_the_route_ends_the_dialog() {
    let (mut watcher, _) = Watcher::open(3600, Decision::Pending);
    let why = [(
        HeaderName::MsDiagnostics,
        "1004;reason=\"Route set no longer valid\"",
    )];
    assert_eq!(watcher.answered(504, &why), ["Gone(Status(504))"]);
}

#[test]
fn draining_tells_the_watcher_at_once_to_subscribe_again() {
    let mut watcher = Watcher::active(3600);
    assert_eq!(
        watcher.input(Input::End(Reason::Deactivated)),
        ["NOTIFY terminated;reason=deactivated [open]"]
    );
    assert_eq!(watcher.ok(), ["Told(Deactivated)"]);
}

#[test]
fn an_end_has_its_reason_and_shows_nothing() {
    for (reason, word) in [
        (Reason::Rejected, "rejected"),
        (Reason::NoResource, "noresource"),
        (Reason::GiveUp, "giveup"),
    ] {
        let mut watcher = Watcher::active(3600);
        watcher.now += secs(60);
        let said = watcher.input(Input::End(reason));
        assert_eq!(said, [format!("NOTIFY terminated;reason={word} []")]);
    }
}

#[test]
fn another_node_takes_over_with_the_whole_state_and_a_higher_number() {
    let mut watcher = Watcher::active(3600);
    watcher.now += secs(600);
    let here = Moment {
        now: watcher.now,
        unix_ms: 1_000_000,
    };
    let record = watcher.core.encode(here);
    let there = Moment {
        now: watcher.now + secs(777),
        unix_ms: 1_000_000 + 20_000,
    };
    let stored = StoredNotifier::decode(&record).unwrap();
    assert!(!stored.is_polite());
    watcher.core = stored.wake(there, config(), document("offline"));
    watcher.now = there.now;
    assert!(watcher.said().is_empty());
    watcher.core.take_over(watcher.now + secs(10));
    // What the state is takes a moment to find out; the watcher need not wait for its answer.
    assert_eq!(watcher.refresh(3000), ["persist", "200 expires 3000"]);
    assert!(watcher.after(3).is_empty());
    assert!(watcher.state("away").is_empty());
    watcher.core.take_up(watcher.now);
    assert_eq!(watcher.said(), ["NOTIFY active;expires=2997 [away]"]);
    let (_, notify) = watcher.sends.last().unwrap();
    assert_eq!(
        header(notify, HeaderName::CSeq),
        format!("{} NOTIFY", 12 + (1 << 16))
    );
    assert_eq!(watcher.refresh(3600)[1], "200 expires 3600");
}

#[test]
fn a_polite_block_survives_the_store() {
    let (watcher, _) = Watcher::open(3600, Decision::Polite(document(OFFLINE)));
    let moment = Moment {
        now: watcher.now,
        unix_ms: 0,
    };
    let stored = StoredNotifier::decode(&watcher.core.encode(moment)).unwrap();
    assert!(stored.is_polite());
    let mut core = stored.wake(moment, config(), document(OFFLINE));
    core.take_over(moment.now);
    core.take_up(moment.now);
    core.poll_output();
    core.handle_input(moment.now + secs(60), Input::State(document("open")));
    assert_eq!(core.poll_output(), None);
}

#[test]
fn an_end_that_the_watcher_has_not_heard_of_survives_the_store() {
    let mut watcher = Watcher::active(3600);
    watcher.input(Input::End(Reason::NoResource));
    let moment = Moment {
        now: watcher.now,
        unix_ms: 0,
    };
    let stored = StoredNotifier::decode(&watcher.core.encode(moment)).unwrap();
    watcher.core = stored.wake(moment, config(), document("open"));
    watcher.core.take_over(moment.now);
    watcher.core.take_up(moment.now);
    assert_eq!(watcher.said(), ["NOTIFY terminated;reason=noresource []"]);
    assert_eq!(watcher.ok(), ["Told(NoResource)"]);
}

#[test]
fn no_damaged_record_makes_a_notifier() {
    let (watcher, _) = Watcher::open(3600, Decision::Pending);
    let record = watcher.core.encode(Moment {
        now: watcher.now,
        unix_ms: 0,
    });
    for end in 0..record.len() {
        assert!(StoredNotifier::decode(&record[..end]).is_err());
    }
}

#[test]
fn a_request_is_found_by_the_dialog_that_it_names() {
    let watcher = Watcher::active(3600);
    let refresh = subscribe(";tag=ours", 2, 3600);
    let named: DialogId = Head::of(&refresh).unwrap().dialog_of_request();
    assert_eq!(named, watcher.core.dialog_id());
}
