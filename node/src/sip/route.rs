//! To whom of ours a request goes: in a dialog to the owner that our tag names, never by the user
//! (a NOTIFY's Request-URI is our Contact); otherwise to the user of the Request-URI.

use entente_cluster::home::key_hash;
use entente_interwork_core::address::{AddressMap, bare_jid_of_uri};
use entente_sip_core::Message;
use entente_sip_core::method::Method;
use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::status::Status;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// It asks what we can do; the edge answers.
    Edge,
    /// To the gateway of the user with this hash.
    User(u64),
}

/// The destination of a request that passed the gate.
///
/// # Errors
/// The response when there is none.
pub(super) fn destination(
    key: &OwnerKey,
    addresses: &AddressMap,
    request: &Message,
) -> Result<Destination, Status> {
    let to = request.to().map_err(|_| Status::BAD_REQUEST)?;
    if let Some(tag) = to.tag() {
        return key
            .owner_of_tag(tag.as_bytes())
            .as_ref()
            .and_then(user_of)
            .map(Destination::User)
            .ok_or(Status::CALL_DOES_NOT_EXIST);
    }
    if request.method() == Some(&Method::Options) {
        return Ok(Destination::Edge);
    }
    let uri = request
        .request_uri()
        .ok()
        .flatten()
        .ok_or(Status::BAD_REQUEST)?;
    let user = bare_jid_of_uri(uri.as_str()).map_err(|_| Status::ADDRESS_INCOMPLETE)?;
    if user.node().is_none() {
        return Err(Status::ADDRESS_INCOMPLETE);
    }
    Ok(Destination::User(key_hash(addresses.local(&user).as_str())))
}

/// How a user's dialogs are marked in tags: 16 hexadecimal digits of the hash of the bare JID.
pub(crate) fn owner_of_user(hash: u64) -> Owner {
    Owner::new(&format!("{hash:016x}")).expect("hexadecimal digits make an owner")
}

/// How a node's transactions are marked in branches: as many digits of the hash of its name.
pub(super) fn owner_of_node(name: &str) -> Owner {
    owner_of_user(key_hash(name))
}

fn user_of(owner: &Owner) -> Option<u64> {
    let digits = owner.as_str();
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use entente_sip_core::generator::Generator;
    use entente_sip_core::message::Limits;
    use entente_xmpp_core::jid::BareJid;

    use super::*;

    fn key() -> OwnerKey {
        OwnerKey::new(b"one cluster")
    }

    fn to(method: &str, uri: &str, to: &str) -> Result<Destination, Status> {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: <sip:b@f>;tag=a\r\n\
             To: {to}\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
        let jid = |text| BareJid::new(text).unwrap();
        let addresses =
            AddressMap::new([(jid("carol@im.siena.example"), jid("c.rossi@siena.example"))]);
        destination(&key(), &addresses.unwrap(), &message)
    }

    #[test]
    fn in_a_dialog_our_tag_names_the_owner_whatever_the_uri_says() {
        let alice = key_hash("alice@siena.example");
        let tag = key().tag(&owner_of_user(alice), &mut Generator::new([1; 16]));
        let header = format!("<sip:bob@siena.example>;tag={tag}");
        assert_eq!(
            to("NOTIFY", "sip:sip.siena.example:5061", &header),
            Ok(Destination::User(alice))
        );
        assert_eq!(
            to("NOTIFY", "sip:alice@siena.example", "<sip:a@b>;tag=x"),
            Err(Status::CALL_DOES_NOT_EXIST)
        );
    }

    #[test]
    fn outside_of_dialogs_the_request_uri_names_the_user() {
        let alice = Ok(Destination::User(key_hash("alice@siena.example")));
        for uri in [
            "sip:alice@siena.example",
            "sip:Alice@SIENA.example:5061;transport=tls",
            "sips:alice@siena.example",
        ] {
            assert_eq!(to("MESSAGE", uri, "<sip:x@y>"), alice, "{uri}");
        }
        assert_eq!(
            to("MESSAGE", "sip:c.rossi@siena.example", "<sip:x@y>"),
            Ok(Destination::User(key_hash("carol@im.siena.example"))),
            "whom the address is of"
        );
        assert_eq!(
            to("MESSAGE", "sip:siena.example", "<sip:x@y>"),
            Err(Status::ADDRESS_INCOMPLETE)
        );
        assert_eq!(
            to("OPTIONS", "sip:siena.example", "<sip:siena.example>"),
            Ok(Destination::Edge)
        );
    }

    #[test]
    fn a_tag_of_another_kind_of_owner_is_no_dialog() {
        let owner = Owner::new("node-1").unwrap();
        let tag = key().tag(&owner, &mut Generator::new([1; 16]));
        assert_eq!(
            to("BYE", "sip:x", &format!("<sip:a@b>;tag={tag}")),
            Err(Status::CALL_DOES_NOT_EXIST)
        );
    }
}
