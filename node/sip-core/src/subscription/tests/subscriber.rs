//! We watch a remote presentity.

use super::*;
use crate::subscription::subscriber::*;
use crate::transaction::Failure;

/// Alice, who watches bob.
struct Alice {
    core: Subscriber,
    now: Instant,
    sends: Vec<(SendId, Message)>,
}

fn key() -> OwnerKey {
    OwnerKey::new(b"the cluster")
}

fn config() -> Arc<SubscriberConfig> {
    let contact = "<sip:sip.entente.example:5061;transport=tls>";
    let host = "entente.example";
    Arc::new(SubscriberConfig::of(
        &Profile::microsoft_lync(),
        contact,
        host,
        key(),
    ))
}

fn pair() -> Pair {
    Pair {
        local: "<sip:alice@entente.example>".into(),
        remote: "sip:bob@contoso.example".into(),
        owner: Owner::new("b7").unwrap(),
    }
}

const CONTACT: (HeaderName, &str) = (HeaderName::Contact, "<sip:bob@contoso.example;gruu>");

impl Alice {
    fn new() -> Self {
        let now = start();
        let mut alice = Self {
            core: Subscriber::start(now, config(), pair(), [5; 16]),
            now,
            sends: Vec::new(),
        };
        assert_eq!(alice.said(), ["SUBSCRIBE 7200"]);
        alice
    }

    fn subscribed() -> Self {
        let mut alice = Self::new();
        alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]);
        alice.notify(1, "active;expires=7200", "open");
        alice
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
                Output::Send { id, request } => {
                    let request = sent(&request);
                    let said = format!("SUBSCRIBE {}", header(&request, HeaderName::Expires));
                    self.sends.push((id, request));
                    said
                }
                Output::Respond { reply, .. } => reply.status().to_string(),
                Output::Standing(standing) => format!("{standing:?}"),
                Output::Document(document) => {
                    format!("[{}]", String::from_utf8_lossy(&document.body))
                }
                Output::Refused { by, final_ } => format!("{by:?} {final_}"),
                Output::Ended => "ended".to_owned(),
            });
        }
        said
    }

    fn last(&self) -> &Message {
        &self.sends.last().unwrap().1
    }

    fn answered(&mut self, code: u16, headers: &[(HeaderName, &str)]) -> Vec<String> {
        let (id, request) = self.sends.last().cloned().unwrap();
        let outcome = response(&request, code, headers);
        self.input(Input::Answer { id, outcome })
    }

    fn failed(&mut self, failure: Failure) -> Vec<String> {
        let (id, _) = self.sends.last().cloned().unwrap();
        let outcome = Outcome::Failed(failure);
        self.input(Input::Answer { id, outcome })
    }

    fn notify_from(&mut self, tag: &str, cseq: u32, state: &str, body: &str) -> Vec<String> {
        let request = self.last();
        let to = header(request, HeaderName::From);
        let call_id = header(request, HeaderName::CallId);
        let body = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: application/pidf+xml\n\n{body}")
        };
        let request = Box::new(message(&format!(
            "NOTIFY sip:sip.entente.example:5061;transport=tls SIP/2.0
             Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bKnashds8
             From: <sip:bob@contoso.example>;tag={tag}
             To: {to}
             Call-ID: {call_id}
             CSeq: {cseq} NOTIFY
             Contact: <sip:bob@contoso.example;gruu>
             Event: presence
             Subscription-State: {state}\n{body}"
        )));
        self.input(Input::Notify {
            id: Some(RequestId(9)),
            request,
        })
    }

    fn notify(&mut self, cseq: u32, state: &str, body: &str) -> Vec<String> {
        self.notify_from("theirs", cseq, state, body)
    }

    /// Goes on to the next deadline.
    fn next(&mut self) -> (SubscriberTimer, u64, Vec<String>) {
        let (at, timer) = self.core.next_timer().unwrap();
        let waited = (at - self.now).as_secs();
        self.now = at;
        let said = self.input(Input::Timeout);
        (timer, waited, said)
    }
}

#[test]
fn subscribe_200_notify() {
    let mut alice = Alice::new();
    let first = alice.last();
    assert_eq!(header(first, HeaderName::Event), "presence");
    assert_eq!(header(first, HeaderName::Accept), "application/pidf+xml");
    assert_eq!(
        header(first, HeaderName::Supported),
        "-",
        "neither piggyback nor benotify"
    );
    let tag = first.from().unwrap().tag().unwrap().to_owned();
    assert_eq!(key().owner_of_tag(tag.as_bytes()), Some(pair().owner));
    assert_eq!(
        alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]),
        ["persist"]
    );
    assert_eq!(
        alice.notify(1, "active;expires=7199", "open"),
        ["200", "[open]", "Active"]
    );
    assert_eq!(
        alice.notify(2, "active;expires=7198", "busy"),
        ["200", "[busy]"]
    );
}

#[test]
fn a_notify_before_the_200_makes_the_dialog() {
    let mut alice = Alice::new();
    assert_eq!(
        alice.notify(1, "pending;expires=7200", ""),
        ["200", "persist", "Pending"]
    );
    assert_eq!(
        alice.answered(200, &[CONTACT, (HeaderName::Expires, "3600")]),
        ["persist"]
    );
    let (timer, waited, said) = alice.next();
    assert_eq!(timer, SubscriberTimer::Refresh);
    assert!((2880..=3240).contains(&waited), "{waited}");
    assert_eq!(said, ["SUBSCRIBE 7200"]);
    assert_eq!(
        header(alice.last(), HeaderName::To),
        "<sip:bob@contoso.example>;tag=theirs"
    );
}

#[test]
fn a_notify_without_record_route_leaves_the_way_to_the_200_that_it_overtook() {
    let mut alice = Alice::new();
    alice.notify(1, "active;expires=7200", "open");
    let route = (
        HeaderName::RecordRoute,
        "<sip:edge.contoso.example;lr;ms-route-sig=aa>",
    );
    alice.answered(200, &[CONTACT, route, (HeaderName::Expires, "3600")]);
    alice.input(Input::Refresh);
    assert_eq!(header(alice.last(), HeaderName::Route), route.1);
}

#[test]
fn a_200_without_contact_leaves_the_dialog_to_the_notify() {
    let mut alice = Alice::new();
    assert!(alice.answered(200, &[]).is_empty());
    assert_eq!(
        alice.notify(1, "active", "open"),
        ["200", "persist", "[open]", "Active"]
    );
}

#[test]
fn a_document_in_the_200_is_taken() {
    let mut alice = Alice::new();
    let (id, request) = alice.sends[0].clone();
    let mut reply = Reply::new(&request, Status::OK, "theirs");
    reply
        .header(HeaderName::Contact, "<sip:bob@contoso.example;gruu>")
        .header(HeaderName::Expires, "7200")
        .body("application/pidf+xml", Bytes::from_static(b"open"));
    let outcome = Outcome::Response(Box::new(read(reply.to_bytes())));
    assert_eq!(
        alice.input(Input::Answer { id, outcome }),
        ["persist", "Active", "[open]"]
    );
    assert_eq!(alice.core.next_timer().unwrap().1, SubscriberTimer::Refresh);
}

#[test]
fn the_expires_that_came_back_counts_and_the_refresh_is_early_in_the_dialog() {
    let mut alice = Alice::new();
    alice.answered(200, &[CONTACT, (HeaderName::Expires, "600")]);
    alice.notify(1, "active", "open");
    let (timer, waited, _) = alice.next();
    assert_eq!(timer, SubscriberTimer::Refresh);
    assert!((480..=540).contains(&waited), "{waited}");
    let first = header(&alice.sends[0].1, HeaderName::CallId).to_owned();
    assert_eq!(header(alice.last(), HeaderName::CallId), first);
}

#[test]
fn refreshes_of_many_subscriptions_spread() {
    let at = |seed: u8| {
        let now = start();
        let mut alice = Alice {
            core: Subscriber::start(now, config(), pair(), [seed; 16]),
            now,
            sends: Vec::new(),
        };
        alice.said();
        alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]);
        alice.notify(1, "active", "open");
        alice.core.poll_timeout().unwrap() - now
    };
    assert_ne!(at(1), at(2));
    assert_eq!(at(1), at(1));
}

#[test]
fn a_refresh_that_gets_481_is_followed_by_a_new_dialog_at_once() {
    let mut alice = Alice::subscribed();
    alice.next();
    let said = alice.answered(481, &[]);
    assert_eq!(said, ["SUBSCRIBE 7200"]);
    assert_ne!(
        header(alice.last(), HeaderName::CallId),
        header(&alice.sends[0].1, HeaderName::CallId)
    );
    assert_eq!(alice.last().to().unwrap().tag(), None);
}

#[test]
fn a_peer_that_came_back_and_forgot_a_young_subscription_is_asked_anew_at_once_but_once() {
    let mut alice = Alice::subscribed();
    assert_eq!(alice.input(Input::Refresh), ["SUBSCRIBE 7200"]);
    assert_eq!(alice.answered(481, &[]), ["SUBSCRIBE 7200"]);
    assert_eq!(alice.last().to().unwrap().tag(), None);
    // A peer that forgets all the time is not asked all the time.
    alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]);
    alice.notify(1, "terminated;reason=deactivated", "");
    assert_eq!(alice.core.next_timer().unwrap().1, SubscriberTimer::Retry);
}

#[test]
fn a_refresh_after_an_outage_that_gets_lost_follows_soon() {
    let mut alice = Alice::subscribed();
    assert_eq!(alice.input(Input::Refresh), ["SUBSCRIBE 7200"]);
    assert!(alice.failed(Failure::Transport).is_empty());
    let (timer, waited, said) = alice.next();
    assert_eq!(timer, SubscriberTimer::Refresh);
    assert!(waited <= 2, "{waited}");
    assert_eq!(said, ["SUBSCRIBE 7200"]);
    assert_eq!(alice.answered(481, &[]), ["SUBSCRIBE 7200"]);
}

#[test]
fn an_edge_that_lost_the_route_set_gets_a_new_dialog() {
    let mut alice = Alice::subscribed();
    alice.next();
    let why = [(
        HeaderName::MsDiagnostics,
        "1004;reason=\"Route set no longer valid\"",
    )];
    assert_eq!(alice.answered(504, &why), ["SUBSCRIBE 7200"]);
    assert_eq!(alice.last().to().unwrap().tag(), None);
}

#[test]
fn min_expires_is_obeyed_once() {
    let mut alice = Alice::new();
    let min = [(HeaderName::MinExpires, "9000")];
    assert_eq!(alice.answered(423, &min), ["SUBSCRIBE 9000"]);
    assert!(
        alice.answered(423, &min).is_empty(),
        "the peer contradicts itself"
    );
    assert_eq!(alice.core.next_timer().unwrap().1, SubscriberTimer::Retry);
}

#[test]
fn refusals_reach_the_user_and_stop_it() {
    for code in [403, 404, 489, 603] {
        let mut alice = Alice::new();
        let refused = format!("Status(Status({code})) true");
        assert_eq!(alice.answered(code, &[]), ["persist".to_owned(), refused]);
        assert_eq!(alice.core.poll_timeout(), None);
        assert_eq!(alice.input(Input::Refresh), ["SUBSCRIBE 7200"]);
    }
}

#[test]
fn somebody_unavailable_is_asked_for_again_later() {
    let mut alice = Alice::new();
    assert_eq!(alice.answered(480, &[]), ["Status(Status(480)) false"]);
    let (timer, waited, said) = alice.next();
    assert_eq!(timer, SubscriberTimer::Retry);
    assert!((1800..=1980).contains(&waited), "{waited}");
    assert_eq!(said, ["SUBSCRIBE 7200"]);
}

#[test]
fn a_peer_that_is_not_there_is_tried_in_growing_pauses() {
    let mut alice = Alice::new();
    let mut pauses = Vec::new();
    for failure in [Failure::Transport, Failure::Timeout]
        .into_iter()
        .cycle()
        .take(9)
    {
        assert!(alice.failed(failure).is_empty());
        pauses.push(alice.next().1);
    }
    for (pause, expected) in pauses
        .iter()
        .zip([30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
    {
        let expected = expected * 9 / 10 - 1..=expected * 11 / 10;
        assert!(expected.contains(pause), "{pauses:?}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let mut alice = Alice::new();
    alice.answered(503, &[(HeaderName::RetryAfter, "100 (maintenance)")]);
    let (_, waited, _) = alice.next();
    assert!((100..=110).contains(&waited), "{waited}");
}

#[test]
fn a_refresh_that_fails_for_a_while_leaves_the_subscription() {
    let mut alice = Alice::subscribed();
    alice.next();
    assert!(alice.failed(Failure::Transport).is_empty());
    assert_eq!(alice.core.standing(), Standing::Active);
    let (timer, waited, said) = alice.next();
    assert_eq!(timer, SubscriberTimer::Refresh);
    assert!((27..=33).contains(&waited), "{waited}");
    assert_eq!(said, ["SUBSCRIBE 7200"]);
    assert_eq!(alice.last().to().unwrap().tag(), Some("theirs"));
}

#[test]
fn a_subscription_that_could_not_be_refreshed_is_unknown_when_it_runs_out() {
    let mut alice = Alice::subscribed();
    for _ in 0..20 {
        let (timer, _, said) = alice.next();
        if timer == SubscriberTimer::Expiry {
            assert_eq!(said, ["Unknown"]);
            return;
        }
        alice.failed(Failure::Transport);
    }
    panic!("it never ran out");
}

#[test]
fn a_forked_notify_gets_481_and_changes_nothing() {
    let mut alice = Alice::subscribed();
    assert_eq!(alice.notify_from("fork", 1, "active", "busy"), ["481"]);
    assert_eq!(alice.core.document(), Some(&document("open")));
}

#[test]
fn a_repeated_notify_is_answered_and_an_old_one_refused() {
    let mut alice = Alice::subscribed();
    alice.notify(5, "active", "busy");
    assert_eq!(alice.notify(5, "active", "busy"), ["200"]);
    assert_eq!(alice.notify(4, "active", "away"), ["500"]);
}

#[test]
fn benotify_is_processed_without_a_response() {
    let mut alice = Alice::subscribed();
    let from = header(alice.last(), HeaderName::From).to_owned();
    let call_id = header(alice.last(), HeaderName::CallId).to_owned();
    let request = Box::new(message(&format!(
        "BENOTIFY sip:sip.entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bK9
         From: <sip:bob@contoso.example>;tag=theirs
         To: {from}
         Call-ID: {call_id}
         CSeq: 7 BENOTIFY
         Event: presence
         Subscription-State: active
         Content-Type: application/pidf+xml\n\nbusy"
    )));
    assert_eq!(alice.input(Input::Notify { id: None, request }), ["[busy]"]);
}

#[test]
fn each_reason_of_an_end_is_obeyed() {
    let end = |state: &str| {
        let mut alice = Alice::subscribed();
        alice.now += secs(600);
        let said = alice.notify(2, state, "");
        let pause = alice.core.next_timer();
        (
            said,
            pause.map(|(at, timer)| (timer, (at - alice.now).as_secs())),
        )
    };
    for reason in ["deactivated", "timeout"] {
        let (said, _) = end(&format!("terminated;reason={reason}"));
        assert_eq!(said, ["200", "SUBSCRIBE 7200"], "{reason}");
    }
    for (reason, by) in [
        ("rejected", "Rejected true"),
        ("noresource", "NoResource true"),
        ("invariant", "Invariant true"),
    ] {
        let (said, timer) = end(&format!("terminated;reason={reason}"));
        assert_eq!(said, ["200", "Unknown", "persist", by], "{reason}");
        assert_eq!(timer, None);
    }
    for reason in ["probation", "giveup"] {
        let (said, timer) = end(&format!("terminated;reason={reason};retry-after=120"));
        assert_eq!(said, ["200", "Unknown"], "{reason}");
        let (timer, waits) = timer.unwrap();
        assert_eq!(timer, SubscriberTimer::Retry);
        assert!((120..=132).contains(&waits), "{waits}");
    }
}

#[test]
fn two_sides_do_not_go_round_in_circles() {
    let mut alice = Alice::subscribed();
    let said = alice.notify(2, "terminated;reason=deactivated", "");
    assert_eq!(said, ["200"]);
    assert_eq!(alice.core.next_timer().unwrap().1, SubscriberTimer::Retry);
}

#[test]
fn no_notify_at_all_means_no_subscription() {
    let mut alice = Alice::new();
    alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]);
    let (timer, waited, _) = alice.next();
    assert_eq!((timer, waited), (SubscriberTimer::FirstNotify, 32));
    assert_eq!(alice.core.next_timer().unwrap().1, SubscriberTimer::Retry);
}

#[test]
fn unsubscribing_ends_with_the_last_notify() {
    let mut alice = Alice::subscribed();
    assert_eq!(alice.input(Input::Unsubscribe), ["SUBSCRIBE 0"]);
    assert!(
        alice
            .answered(200, &[CONTACT, (HeaderName::Expires, "0")])
            .is_empty()
    );
    assert_eq!(
        alice.notify(2, "terminated;reason=timeout", ""),
        ["ended", "200"]
            .map(String::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
}

#[test]
fn unsubscribing_ends_without_the_peers_help_too() {
    let mut alice = Alice::subscribed();
    alice.input(Input::Unsubscribe);
    assert_eq!(alice.answered(481, &[]), ["ended"]);
    let mut alice = Alice::subscribed();
    alice.input(Input::Unsubscribe);
    assert_eq!(
        alice.next(),
        (SubscriberTimer::Ending, 32, vec!["ended".to_owned()])
    );
    let mut alice = Alice::new();
    assert!(alice.input(Input::Unsubscribe).is_empty());
    assert_eq!(
        alice.answered(200, &[CONTACT, (HeaderName::Expires, "7200")]),
        ["persist", "SUBSCRIBE 0"]
    );
}

#[test]
fn another_node_takes_over_and_asks_for_the_state_at_once() {
    let mut alice = Alice::subscribed();
    alice.now += secs(600);
    let record = alice.core.encode(Moment {
        now: alice.now,
        unix_ms: 50_000,
    });
    let there = Moment {
        now: alice.now + secs(99),
        unix_ms: 60_000,
    };
    let stored = StoredSubscriber::decode(&record).unwrap();
    assert_eq!(stored.pair(), &pair());
    assert_eq!(stored.document(), Some(&document("open")));
    alice.core = stored.wake(there, config(), [6; 16]);
    alice.now = there.now;
    alice.core.take_over(alice.now);
    assert_eq!(alice.said(), ["SUBSCRIBE 7200"]);
    let before = alice.sends[0].1.cseq().unwrap().number;
    let after = alice.last().cseq().unwrap().number;
    assert_eq!(after, before + (1 << 16) + 1);
    // The peer's server restarted too and knows nothing.
    assert_eq!(alice.answered(481, &[]), ["SUBSCRIBE 7200"]);
    assert_eq!(alice.last().to().unwrap().tag(), None);
}

#[test]
fn one_that_ran_out_while_nobody_owned_it_begins_anew() {
    let mut alice = Alice::subscribed();
    let record = alice.core.encode(Moment {
        now: alice.now,
        unix_ms: 0,
    });
    let there = Moment {
        now: alice.now,
        unix_ms: 8_000_000,
    };
    alice.core = StoredSubscriber::decode(&record)
        .unwrap()
        .wake(there, config(), [6; 16]);
    alice.core.take_over(alice.now);
    assert_eq!(alice.said(), ["SUBSCRIBE 7200"]);
    assert_eq!(alice.last().to().unwrap().tag(), None);
}

#[test]
fn no_damaged_record_makes_a_subscriber() {
    let alice = Alice::subscribed();
    let record = alice.core.encode(Moment {
        now: alice.now,
        unix_ms: 0,
    });
    for end in 0..record.len() {
        assert!(StoredSubscriber::decode(&record[..end]).is_err());
    }
}
