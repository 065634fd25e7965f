use proptest::prelude::*;

use super::*;

/// As Lync sends it.
const LYNC: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.57\r\ns=session\r\nc=IN IP4 192.0.2.57\r\nt=0 0\r\n\
    m=message 5060 sip null\r\n\
    a=accept-types:text/plain multipart/alternative image/gif text/rtf text/html application/x-ms-ink application/ms-imdn+xml text/x-msmsgsinvite \r\n\r\n";

fn invite<'a>(content_type: &'a str, body: &'a str) -> Invite<'a> {
    Invite {
        content_type: Some(content_type),
        body: body.as_bytes(),
        ..Invite::default()
    }
}

fn refusal(content_type: &str, body: &str) -> Option<u16> {
    classify(&invite(content_type, body)).refusal()
}

#[test]
fn a_session_for_two_is_taken() {
    let full = Invite {
        requires: &["100rel"],
        end_points: Some("<sip:ann@contoso.example>, \"Bob\" <sip:bob@example.com>;x=y"),
        triggered: Some("FALSE"),
        ..invite("application/sdp;call-type=im", LYNC)
    };
    let Invitation::Messages(sdp) = classify(&full) else {
        panic!("instant messages");
    };
    assert_eq!(sdp.message_media(), Some(MessageMedia::Message));
    assert!(sdp.accepts("text/html") && sdp.accepts("text/plain") && !sdp.accepts("text/x"));
    assert_eq!(sdp.accept_types().len(), 8);
    assert_eq!(
        sdp.answer("192.0.2.1"),
        "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=session\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=message 5060 sip null\r\n\
         a=accept-types:text/plain multipart/alternative text/html text/rtf\r\n"
    );
}

#[test]
fn our_offers_are_sessions_for_messages() {
    for kind in [MessageMedia::Message, MessageMedia::XMsMessage] {
        let sdp = Sdp::parse(offer("sip.example.com", kind).as_bytes()).unwrap();
        assert_eq!(sdp.message_media(), Some(kind));
        let answer = Sdp::parse(sdp.answer("2001:db8::1").as_bytes()).unwrap();
        assert_eq!(answer.message_media(), Some(kind));
        assert!(answer.accepts("text/rtf"));
    }
    assert!(offer("2001:db8::1", MessageMedia::Message).contains("c=IN IP6 2001:db8::1\r\n"));
}

#[test]
fn further_media_are_refused_in_the_answer() {
    let body = "v=0\no=- 1 1 IN IP4 h\ns=-\nm=audio 4000/2 RTP/AVP 0 8\na=x\nm=message 5060 SIP null\n\
                m=message 5061 sip null\n";
    let Invitation::Messages(sdp) = classify(&invite("application/sdp", body)) else {
        panic!("instant messages");
    };
    let answer = sdp.answer("h");
    let media: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("m="))
        .collect();
    assert_eq!(
        media,
        [
            "m=audio 0 RTP/AVP 0 8",
            "m=message 5060 SIP null",
            "m=message 0 sip null"
        ]
    );
}

#[test]
fn more_than_two_parties_are_refused() {
    let plain = invite("application/sdp", LYNC);
    let multiparty = Invite {
        requires: &["timer", "COM.Microsoft.rtc-multiparty"],
        ..plain
    };
    assert_eq!(classify(&multiparty).refusal(), Some(420));
    for conference in [
        Invite {
            end_points: Some("<sip:a@x>, <sip:b@x>, <sip:c@y>"),
            ..plain
        },
        Invite {
            triggered: Some("TRUE"),
            ..plain
        },
        invite(
            "application/ms-conf-invite+xml",
            "<Conferencing version=\"2.0\"/>",
        ),
    ] {
        assert_eq!(classify(&conference), Invitation::Conference);
        assert_eq!(classify(&conference).refusal(), Some(488));
    }
    // The same person twice is no third party.
    let twice = Invite {
        end_points: Some("<sip:a@x>, <sip:b@x>, <SIP:A@x>"),
        ..plain
    };
    assert_eq!(classify(&twice).refusal(), None);
}

#[test]
fn files_are_refused() {
    let sdp = |media: &str| format!("v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\n{media}");
    for (content_type, body) in [
        (
            "text/x-msmsgsinvite; charset=UTF-8",
            "Application-Name: File Transfer\r\n".to_owned(),
        ),
        ("application/ms-filetransfer+xml", "<request/>".to_owned()),
        ("application/sdp", sdp("m=data 6891 TCP/TLS/FTP *\r\n")),
        (
            "application/sdp",
            sdp("m=message 7654 TCP/MSRP *\r\na=file-selector:name:\"x.jpg\"\r\n"),
        ),
        (
            "multipart/mixed;boundary=b",
            format!(
                "--b\r\nContent-Type: application/sdp\r\n\r\n{LYNC}\r\n\
                 --b\r\nContent-Type: application/ms-filetransfer+xml\r\n\r\n<request/>\r\n--b--"
            ),
        ),
    ] {
        assert_eq!(refusal(content_type, &body), Some(415), "{body}");
    }
}

#[test]
fn calls_and_unknown_things_are_refused() {
    let audio = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nm=audio 4000 RTP/AVP 0\r\n";
    let msrp = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nm=message 7654 TCP/MSRP *\r\n";
    let disabled = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nm=message 0 sip null\r\n";
    for body in [audio, msrp, disabled] {
        assert_eq!(refusal("application/sdp", body), Some(488), "{body}");
    }
    assert_eq!(refusal("application/x-new", ""), Some(488));
    assert_eq!(classify(&Invite::default()).refusal(), Some(488));
}

#[test]
fn an_offer_beside_a_fallback_is_found() {
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\nContent-Disposition: session; handling=optional; ms-proxy-2007fallback\r\n\r\n{LYNC}\r\n\
         --b\r\nContent-Type: application/sdp\r\n\r\n{LYNC}\r\n--b--"
    );
    assert_eq!(refusal("multipart/alternative;boundary=b", &body), None);
}

#[test]
fn broken_offers_are_malformed() {
    for (content_type, body) in [
        ("application/sdp", "hello"),
        ("application/sdp", "v=0\r\nnonsense"),
        ("application/sdp", "v=0\r\nm=message x sip null"),
        ("application/sdp", "v=0\r\nm=message 5060"),
        ("multipart/mixed", "x"),
        ("nonsense", "x"),
    ] {
        assert_eq!(refusal(content_type, body), Some(400), "{body}");
    }
    let many = |count: usize| format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(count));
    assert_eq!(refusal("application/sdp", &many(MAX_MEDIA)), Some(488));
    assert_eq!(refusal("application/sdp", &many(MAX_MEDIA + 1)), Some(400));
}

proptest! {
    #[test]
    fn any_invitation_is_classified(
        body in r"(v=0\r\n)?(m=message 5060 sip null\r\n|m=|a=accept-types:|a=x|\r\n|=|é| |[a-z0-9]){0,30}",
        end_points in r#"(<sip:a@b>|,|;|<|>|"|é){0,12}"#,
    ) {
        let invite = Invite { end_points: Some(&end_points), ..invite("application/sdp", &body) };
        if let Invitation::Messages(sdp) = classify(&invite) {
            prop_assert!(Sdp::parse(sdp.answer("h").as_bytes()).is_ok());
        }
    }
}
