use std::collections::HashMap;

use super::*;

#[test]
fn parts_of_a_full_address() {
    let jid = Jid::new("juliet@example.com/balcony/2@x").unwrap();
    assert_eq!(jid.node(), Some("juliet"));
    assert_eq!(jid.domain(), "example.com");
    assert_eq!(jid.resource(), Some("balcony/2@x"));
    assert_eq!(jid.to_bare().as_str(), "juliet@example.com");
    assert_eq!(jid.to_domain().as_str(), "example.com");
    assert!(jid.is_full() && !jid.is_domain());
    assert!(jid.same_user(&Jid::new("juliet@example.com").unwrap()));
}

#[test]
fn a_resource_without_a_localpart() {
    let jid = Jid::new("example.com/r@x").unwrap();
    assert_eq!(jid.node(), None);
    assert_eq!(jid.domain(), "example.com");
    assert_eq!(jid.resource(), Some("r@x"));
    assert!(!jid.is_domain());
}

#[test]
fn case_and_dots_are_normalised() {
    assert_eq!(
        Jid::new("Juliet@EXAMPLE.com./R").unwrap().as_str(),
        "juliet@example.com/R"
    );
    assert_eq!(
        Jid::new("STRASSE@Bücher.example").unwrap().as_str(),
        "strasse@bücher.example"
    );
}

#[test]
fn what_was_prepared_stays_as_it_is() {
    // A capital that Unicode 3.2 does not know, and whose compatibility form is a capital too.
    let jid = BareJid::new("\u{3f9}@a.example").unwrap();
    assert_eq!(jid.as_str(), "\u{3c3}@a.example");
    assert_eq!(BareJid::new(jid.as_str()).unwrap(), jid);
}

#[test]
fn a_labels_become_u_labels_and_back() {
    let jid = Jid::new("a@xn--bcher-kva.example").unwrap();
    assert_eq!(jid.domain(), "bücher.example");
    assert_eq!(
        domain_to_ascii(jid.domain()).unwrap(),
        "xn--bcher-kva.example"
    );
    assert!(same_domain("BÜCHER.example.", "xn--bcher-kva.example"));
    assert!(!same_domain("a.example", "b.example"));
}

#[test]
fn what_is_not_an_address() {
    for (text, error) in [
        ("", JidError::Domainpart),
        ("@example.com", JidError::Localpart),
        ("a@", JidError::Domainpart),
        ("a@b@c", JidError::Domainpart),
        ("a@example.com/", JidError::Resourcepart),
        ("a b@example.com", JidError::Localpart),
        ("a'b@example.com", JidError::Localpart),
        ("a@exa mple.com", JidError::Domainpart),
        ("a@-example.com", JidError::Domainpart),
        ("a@example..com", JidError::Domainpart),
        ("a@example.com/\u{7}", JidError::Resourcepart),
        ("a@example.com/\u{200e}🙂", JidError::Resourcepart),
    ] {
        assert_eq!(Jid::new(text), Err(error), "{text:?}");
    }
    let long = "x".repeat(MAX_PART_LEN + 1);
    assert_eq!(Jid::new(&format!("{long}@a")), Err(JidError::Localpart));
    assert_eq!(Jid::new(&format!("a/{long}")), Err(JidError::Resourcepart));
    assert_eq!(Jid::new(&long), Err(JidError::Domainpart));
    assert!(Jid::new(&format!("{}@a", &long[1..])).is_ok());
}

#[test]
fn nicknames_may_be_newer_than_unicode_3_2() {
    let jid = Jid::new("room@conference.example/🤖 emoji").unwrap();
    assert_eq!(jid.resource(), Some("🤖 emoji"));
}

#[test]
fn literal_addresses_are_domains() {
    assert_eq!(
        Jid::new("a@[2001:DB8::1]").unwrap().domain(),
        "[2001:db8::1]"
    );
    assert_eq!(Jid::new("a@127.0.0.1").unwrap().domain(), "127.0.0.1");
}

#[test]
fn full_and_bare_are_told_apart() {
    assert_eq!(BareJid::new("a@b/c"), Err(JidError::UnexpectedResource));
    assert_eq!(FullJid::new("a@b"), Err(JidError::MissingResource));
    let full = BareJid::new("a@b").unwrap().with_resource("ｃ").unwrap();
    assert_eq!(full.as_str(), "a@b/c");
    assert_eq!(full.resource(), "c");
}

#[test]
fn maps_are_asked_with_text() {
    let map = HashMap::from([(BareJid::new("a@b").unwrap(), 1)]);
    assert_eq!(map.get("a@b"), Some(&1));
    assert_eq!(map.get(Jid::new("a@b").unwrap().as_str()), Some(&1));
}

/// The fast path must not accept what the profiles would change.
#[test]
fn the_fast_path_agrees_with_the_profiles() {
    for byte in 0..128u8 {
        let c = char::from(byte);
        for text in [format!("a{c}b@x"), format!("x{c}y"), format!("x/a{c}b")] {
            let (ours, theirs) = (Jid::new(&text), jid::Jid::new(&text));
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours.as_str(), theirs.as_str()),
                (Err(_), Err(_)) => {}
                _ => panic!("{text:?}: {ours:?} or {theirs:?}"),
            }
        }
    }
}
