use std::net::IpAddr;

use crate::uri::{Host, Scheme, Uri, UriFault};

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn parts_are_found() {
    let full =
        uri("sips:alice;x:se%20cret@[2001:db8::1]:5061;transport=tls;lr;gruu?subject=a%20b&to=c");
    assert_eq!(full.scheme(), Scheme::Sips);
    assert_eq!(full.user(), Some("alice;x"));
    assert_eq!(full.password(), Some("se%20cret"));
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(full.host(), Some(Host::Address(address)));
    assert_eq!(full.port(), Some(5061));
    assert_eq!(full.param("transport"), Some("tls"));
    assert!(full.is_loose_router());
    assert_eq!(full.headers(), Some("subject=a%20b&to=c"));
    let plain = uri("sip:example.com");
    assert_eq!(
        (plain.user(), plain.port(), plain.headers()),
        (None, None, None)
    );
    assert_eq!(plain.host(), Some(Host::Name("example.com")));
}

#[test]
fn colons_in_parameters_are_kept() {
    let gruu = uri("sip:a@example.com;opaque=user:epid:X_y-1;gruu");
    assert_eq!(gruu.param("opaque"), Some("user:epid:X_y-1"));
    assert_eq!(gruu.port(), None);
}

#[test]
fn other_schemes_are_kept_whole() {
    assert_eq!(
        uri("tel:+1-201-555-0123;ext=4").user(),
        Some("+1-201-555-0123")
    );
    assert_eq!(uri("pres:a%20b@example.com").host_str(), "example.com");
    assert_eq!(uri("im:a@example.com").scheme(), Scheme::Im);
    let urn = uri("urn:service:sos");
    assert_eq!(
        (urn.scheme(), urn.scheme_str(), urn.host()),
        (Scheme::Other, "urn", None)
    );
}

#[test]
fn what_is_no_uri_is_refused() {
    for (text, fault) in [
        ("", UriFault::Scheme),
        ("example.com", UriFault::Scheme),
        (":a", UriFault::Scheme),
        ("1a:b", UriFault::Scheme),
        ("http:", UriFault::Scheme),
        ("sip:", UriFault::Host),
        ("sip:@example.com", UriFault::User),
        ("sip:a@", UriFault::Host),
        ("sip:a b@example.com", UriFault::Character),
        ("sip:a@example.com>", UriFault::Character),
        ("sip:\u{e9}@example.com", UriFault::Character),
        ("sip:a%2@example.com", UriFault::User),
        ("sip:a@b@example.com", UriFault::Host),
        ("sip:a@example.com:", UriFault::Port),
        ("sip:a@example.com:65536", UriFault::Port),
        ("sip:a@2001:db8::1", UriFault::Port),
        ("sip:a@[2001:db8::1", UriFault::Host),
        ("sip:a@[::1]x", UriFault::Host),
        ("sip:a@1.2.3.256", UriFault::Host),
        ("sip:a@-a.example", UriFault::Host),
        ("sip:a@example.com;", UriFault::Params),
        ("sip:a@example.com;a=b=c", UriFault::Params),
        ("sip:a@example.com?", UriFault::Headers),
        ("sip:a@example.com?x", UriFault::Headers),
        ("pres:example.com", UriFault::User),
        ("tel:", UriFault::User),
        ("tel:12x", UriFault::User),
    ] {
        let got = Uri::parse(text).map(|uri| uri.as_str().to_owned());
        // A lone `sip:a@[..` has a colon inside: which part is blamed does not matter there.
        match text.contains('[') {
            true => assert!(got.is_err(), "{text}"),
            false => assert_eq!(got, Err(fault), "{text}"),
        }
    }
    let long = format!("sip:{}@example.com", "a".repeat(super::MAX_URI_BYTES));
    assert_eq!(Uri::parse(&long), Err(UriFault::TooLong));
}

/// The examples of RFC 3261 section 19.1.4.
#[test]
fn equivalence_is_that_of_the_rfc() {
    for [one, other] in [
        [
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ],
        ["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
        ["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
        [
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ],
        [
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ],
        ["tel:+1-201-555-0123", "TEL:+12015550123"],
    ] {
        assert!(uri(one).equivalent(&uri(other)), "{one} and {other}");
        assert!(uri(other).equivalent(&uri(one)), "{other} and {one}");
    }
    for [one, other] in [
        [
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ],
        ["sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"],
        ["sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"],
        [
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
        ],
        [
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ],
        ["sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"],
        [
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ],
        ["sip:a%40b@example.com", "sip:a%41b@example.com"],
        ["sip:a@example.com", "sips:a@example.com"],
        ["sip:a:b@example.com", "sip:a@example.com"],
    ] {
        assert!(!uri(one).equivalent(&uri(other)), "{one} and {other}");
        assert!(!uri(other).equivalent(&uri(one)), "{other} and {one}");
    }
}

#[test]
fn a_user_is_encoded_where_it_must_be() {
    let built = Uri::sip("d'arc/x;y@z \u{e9}", "example.com").unwrap();
    assert_eq!(built.as_str(), "sip:d'arc%2Fx%3By%40z%20%C3%A9@example.com");
    assert_eq!(
        built.decoded_user().unwrap().as_ref(),
        "d'arc/x;y@z \u{e9}".as_bytes()
    );
    assert_eq!(Uri::sip("", "example.com"), Err(UriFault::User));
    assert_eq!(Uri::sip("a", "b>"), Err(UriFault::Character));
    assert_eq!(Uri::sip("a", "b\r\nX: y"), Err(UriFault::Character));
}
