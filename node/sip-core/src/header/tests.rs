use crate::header::{
    CSeq, ContentType, Event, HeaderName, MsDiagnostics, ReasonValue, SubscriptionState, Substate,
    Warning, seconds,
};
use crate::method::Method;

#[test]
fn names_are_known_in_any_case_and_compact() {
    for (written, name) in [
        ("Via", HeaderName::Via),
        ("v", HeaderName::Via),
        ("V", HeaderName::Via),
        ("call-id", HeaderName::CallId),
        ("i", HeaderName::CallId),
        ("CSEQ", HeaderName::CSeq),
        ("x", HeaderName::SessionExpires),
        ("MS-Diagnostics-Public", HeaderName::MsDiagnosticsPublic),
        ("P-Preferred-Identity", HeaderName::PPreferredIdentity),
        ("z", HeaderName::Other),
        ("Vias", HeaderName::Other),
        ("", HeaderName::Other),
        ("A-Name-Longer-Than-Any-That-Is-Known", HeaderName::Other),
    ] {
        assert_eq!(
            HeaderName::from_bytes(written.as_bytes()),
            name,
            "{written}"
        );
        if name != HeaderName::Other {
            assert_eq!(HeaderName::from_bytes(name.as_str().as_bytes()), name);
        }
    }
}

#[test]
fn cseq_has_a_number_below_2_to_the_31_and_a_method() {
    let read = |value| CSeq::parse(value).map(|cseq| (cseq.number, cseq.method));
    assert_eq!(read("0009\r\n  INVITE"), Some((9, Method::Invite)));
    assert_eq!(
        read("2147483647 BENOTIFY"),
        Some((2_147_483_647, Method::Benotify))
    );
    for bad in [
        "2147483648 INVITE",
        "1",
        "INVITE",
        "-1 INVITE",
        "1 INV(ITE",
        "1 A B",
        "",
        "+1 BYE",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn seconds_saturate_and_are_numbers() {
    assert_eq!(seconds(" 3600 "), Some(3600));
    assert_eq!(seconds("4294967296"), Some(u32::MAX));
    assert_eq!(seconds("949302838503028349304023988"), Some(u32::MAX));
    assert_eq!(seconds(""), None);
    assert_eq!(seconds("-1"), None);
    assert_eq!(seconds("1.5"), None);
}

#[test]
fn events_have_package_and_id() {
    let event = Event::parse("presence.winfo ; id=7;x").unwrap();
    assert_eq!((event.package, event.id()), ("presence.winfo", Some("7")));
    assert!(Event::parse(";id=1").is_none());
    assert!(Event::parse("a/b").is_none());
}

#[test]
fn subscription_states_are_words_with_times() {
    let state = SubscriptionState::parse("Terminated;reason=deactivated;retry-after=30").unwrap();
    assert_eq!(state.state, Substate::Terminated);
    assert_eq!(
        (state.reason(), state.retry_after()),
        (Some("deactivated"), Some(30))
    );
    let active = SubscriptionState::parse("active;expires=600").unwrap();
    assert_eq!(
        (active.state, active.expires()),
        (Substate::Active, Some(600))
    );
    let other = SubscriptionState::parse("waiting").unwrap();
    assert_eq!(other.state, Substate::Other("waiting"));
    assert!(SubscriptionState::parse("active;;").is_none());
}

#[test]
fn media_types_have_parameters() {
    let type_ = ContentType::parse("Text / Plain ; charset=\"UTF-8\" ;boundary=a=b").unwrap();
    assert!(type_.is("text", "plain"));
    assert_eq!(type_.params.unquoted("charset").unwrap(), "UTF-8");
    assert_eq!(type_.params.get("boundary"), Some("a=b"));
    for bad in [
        "text",
        "text/",
        "/plain",
        "te xt/plain",
        "text/plain;charset=",
        "text/plain;\"x\"",
    ] {
        assert!(ContentType::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn warnings_reasons_and_diagnostics_explain() {
    let warning = Warning::parse("399 example.com:5060 \"not \\\"now\\\"\"").unwrap();
    assert_eq!(
        (warning.code, warning.agent, warning.text.as_ref()),
        (399, "example.com:5060", "not \"now\"")
    );
    for bad in [
        "1812 overture \"x\"",
        "399 a",
        "399 a x",
        "39",
        "399\"x\"",
        "399 a \"",
    ] {
        assert!(Warning::parse(bad).is_none(), "{bad}");
    }
    let reason = ReasonValue::parse("SIP ;cause=480 ;text=\"gone, away\"").unwrap();
    assert_eq!((reason.protocol, reason.cause()), ("SIP", Some(480)));
    assert_eq!(reason.text().unwrap(), "gone, away");
    let diagnostics = MsDiagnostics::parse(
        "1004;reason=\"Route set no longer valid\";source=\"edge.example.com\"",
    )
    .unwrap();
    assert_eq!(diagnostics.id, 1004);
    assert_eq!(diagnostics.reason().unwrap(), "Route set no longer valid");
    assert_eq!(diagnostics.source().unwrap(), "edge.example.com");
    assert!(MsDiagnostics::parse("x;reason=\"y\"").is_none());
}
