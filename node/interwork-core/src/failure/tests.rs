use entente_xmpp_core::error::ErrorType;
use proptest::prelude::*;

use super::*;
use crate::text::TextFault;

/// The whole table, as it was agreed.
#[test]
fn sip_statuses_are_stanza_errors() {
    for (statuses, condition) in [
        (&[300, 302, 305][..], "redirect"),
        (&[301, 410], "gone"),
        (
            &[400, 413, 414, 415, 416, 420, 421, 423, 513],
            "bad-request",
        ),
        (&[401], "not-authorized"),
        (&[403], "forbidden"),
        (&[404, 481, 485, 604], "item-not-found"),
        (&[405], "not-allowed"),
        (&[406, 482, 483, 488, 505, 606], "not-acceptable"),
        (&[407], "registration-required"),
        (&[480], "recipient-unavailable"),
        (&[484], "jid-malformed"),
        (&[491], "unexpected-request"),
        (&[500], "internal-server-error"),
        (&[501], "feature-not-implemented"),
        (&[502], "remote-server-not-found"),
        (&[504], "remote-server-timeout"),
        (&[408, 503, 600, 603], "service-unavailable"),
        // Not in the table: the nearest, or the class.
        (&[486, 487, 699], "service-unavailable"),
        (&[380], "redirect"),
        (&[422, 499], "bad-request"),
        (&[580], "internal-server-error"),
        (&[0, 199, 200, 700], "undefined-condition"),
    ] {
        for status in statuses {
            assert_eq!(condition_of(*status).as_str(), condition, "{status}");
        }
    }
}

/// The whole table, as it was agreed, and every condition besides.
#[test]
fn stanza_errors_are_sip_statuses() {
    let table = [
        ("item-not-found", 404),
        ("recipient-unavailable", 480),
        ("service-unavailable", 480),
        ("forbidden", 403),
        ("not-authorized", 403),
        ("policy-violation", 403),
        ("not-acceptable", 488),
        ("jid-malformed", 484),
        ("remote-server-timeout", 504),
        ("feature-not-implemented", 501),
        ("resource-constraint", 503),
        ("bad-request", 400),
        ("conflict", 400),
        ("gone", 410),
        ("internal-server-error", 500),
        ("not-allowed", 403),
        ("redirect", 480),
        ("registration-required", 403),
        ("remote-server-not-found", 404),
        ("subscription-required", 403),
        ("undefined-condition", 400),
        ("unexpected-request", 400),
    ];
    assert_eq!(table.len(), StanzaCondition::ALL.len());
    for (condition, status) in table {
        let condition = StanzaCondition::from_name(condition).unwrap();
        assert_eq!(status_of(condition), status, "{condition}");
    }
}

#[test]
fn the_sender_reads_what_happened_and_what_the_peer_says() {
    let failure = SipFailure {
        diagnostics: Some("1003;reason=\"User does not exist\";source=\"sip.contoso.example\""),
        warning: Some("399 lcs.microsoft.com \"unused\""),
        ..SipFailure::of_status(404)
    };
    let error = failure.to_stanza_error();
    assert_eq!(error.condition, StanzaCondition::ItemNotFound);
    assert_eq!(
        error.text.as_deref(),
        Some("There is no such user. Their server says: User does not exist")
    );
    let failure = SipFailure {
        warning: Some("399 h \"say \\\"please\\\"\""),
        ..SipFailure::of_status(606)
    };
    assert_eq!(
        failure.to_stanza_error().text.as_deref(),
        Some(
            "The recipient's organisation refuses this by policy. Their server says: say \"please\""
        )
    );
    let plain = SipFailure::of_status(480).to_stanza_error();
    assert_eq!(plain.text.as_deref(), Some("The recipient is not online."));
    assert_eq!(plain.kind, ErrorType::Wait);
}

#[test]
fn who_has_moved_has_a_new_address() {
    let moved = SipFailure {
        contact: Some("<sip:Juliet@new.example;transport=tls>"),
        ..SipFailure::of_status(301)
    };
    assert_eq!(
        moved.to_stanza_error().new_address.as_deref(),
        Some("xmpp:juliet@new.example")
    );
    let elsewhere = SipFailure {
        contact: Some("sip:juliet@new.example"),
        ..SipFailure::of_status(404)
    };
    assert_eq!(elsewhere.to_stanza_error().new_address, None);
    let nowhere = SipFailure {
        contact: Some("tel:+1555"),
        ..SipFailure::of_status(302)
    };
    assert_eq!(nowhere.to_stanza_error().new_address, None);
}

#[test]
fn refused_messages_have_statuses_that_clients_explain() {
    for (failure, status) in [
        (DeliveryFailure::DoNotDisturb, 486),
        (DeliveryFailure::Format, 415),
        (DeliveryFailure::Offline, 480),
        (DeliveryFailure::NoSuchUser, 404),
        (DeliveryFailure::Policy, 606),
        (DeliveryFailure::Unavailable, 503),
        (TextFault::Charset.into(), 415),
        (TextFault::TooLarge.into(), 413),
        (TextFault::Malformed.into(), 400),
    ] {
        let answer = failure.answer();
        assert_eq!(answer.status, status);
        let warning = answer.warning("sip.example.com").unwrap();
        assert!(warning.starts_with("399 sip.example.com \""), "{warning}");
        assert_eq!(warning_text(&warning).as_deref(), answer.text.as_deref());
    }
}

#[test]
fn a_stanza_error_becomes_an_answer_with_its_words() {
    let error =
        StanzaError::new(StanzaCondition::RecipientUnavailable).with_text("gone\r\n\"fishing\"");
    let answer = SipAnswer::of_stanza_error(&error);
    assert_eq!(
        (answer.status, answer.reason),
        (480, "Temporarily Unavailable")
    );
    assert_eq!(
        answer.warning("h").as_deref(),
        Some("399 h \"gone  \\\"fishing\\\"\"")
    );
    assert_eq!(SipAnswer::of_status(480).warning("h"), None);
}

#[test]
fn diagnostics_are_read() {
    let read = MsDiagnostics::parse(
        "1009;reason=\"Conflicting SRV and host domains in DNS; really\";DnsName=\"a=b\";source=\"sip.contoso.example\"",
    )
    .unwrap();
    assert_eq!(read.code, 1009);
    assert_eq!(
        read.reason.as_deref(),
        Some("Conflicting SRV and host domains in DNS; really")
    );
    assert_eq!(read.source.as_deref(), Some("sip.contoso.example"));
    assert_eq!(read.trouble(), PeerTrouble::DnsConflict);
    assert!(read.trouble().advice().is_some());
    let route = MsDiagnostics::parse("1004; reason=expired").unwrap();
    assert_eq!(route.trouble(), PeerTrouble::RouteExpired);
    assert_eq!(route.reason.as_deref(), Some("expired"));
    assert_eq!(
        MsDiagnostics::parse("51004").unwrap().trouble(),
        PeerTrouble::Other
    );
    assert_eq!(MsDiagnostics::parse("x;reason=\"y\""), None);
}

proptest! {
    #[test]
    fn any_failure_has_a_condition_and_words(
        status in any::<u16>(), warning in any::<String>(), diagnostics in r#"[0-9]{0,5}[;="a é\\]{0,20}"#,
    ) {
        let failure = SipFailure {
            status,
            warning: Some(&warning),
            diagnostics: Some(&diagnostics),
            contact: Some(&warning),
        };
        let error = failure.to_stanza_error();
        prop_assert!(error.text.is_some_and(|text| !text.is_empty()));
        prop_assert!(!reason_phrase(status).is_empty());
    }

    #[test]
    fn a_warning_is_one_line_and_read_back(text in "[a-z\"\\\\ é\r\n]{1,30}") {
        let warning = write_warning("h", &text);
        prop_assert!(!warning.contains(['\r', '\n']));
        let read = warning_text(&warning).unwrap_or_default();
        let flat = text.replace(['\r', '\n'], " ");
        prop_assert_eq!(read, flat.trim());
    }
}
