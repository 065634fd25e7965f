//! What a peer's request must be like before anything of ours hears of it (E2): from a domain that the
//! connection may speak for, for a user or dialog of ours, and nothing that we don't do.

use std::collections::HashSet;
use std::sync::Arc;

use entente_sip_core::header::HeaderName;
use entente_sip_core::method::Method;
use entente_sip_core::owner::OwnerKey;
use entente_sip_core::status::Status;
use entente_sip_core::uri::Uri;
use entente_sip_core::validate::{Refusal, Request};
use entente_xmpp_core::jid::{BareJid, domain_to_ascii};

use super::proof::Proof;
use crate::config::{FederationPolicy, SipPeerConfig};

/// Every method that some part of ours answers.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, SUBSCRIBE, NOTIFY";
/// What we take in bodies.
pub(super) const ACCEPT: &str = "application/sdp, application/pidf+xml, text/plain, text/html, multipart/alternative, application/im-iscomposing+xml, application/xml";

/// What does not change while the node runs.
#[derive(Debug)]
pub(super) struct Gate {
    /// Our domains, with U-labels.
    pub(super) domains: HashSet<String>,
    /// Our public host, in A-labels.
    pub(super) host: String,
    pub(super) key: OwnerKey,
}

/// Why a request does not pass.
#[derive(Debug)]
pub(super) enum Closed {
    /// It is answered; the word is for metrics.
    Refuse(Box<Refusal>, &'static str),
    /// It is of a kind that is never answered.
    Drop(&'static str),
}

impl Gate {
    /// The peer that the request is from, or why it does not pass.
    pub(super) fn admit(
        &self,
        policy: &FederationPolicy,
        proof: &Proof,
        request: &Request,
    ) -> Result<Admitted, Closed> {
        self.check(policy, proof, request)
            .map_err(|(refusal, why)| match request.method() {
                Method::Ack | Method::Benotify => Closed::Drop(why),
                _ => Closed::Refuse(refusal, why),
            })
    }

    fn check(
        &self,
        policy: &FederationPolicy,
        proof: &Proof,
        request: &Request,
    ) -> Result<Admitted, (Box<Refusal>, &'static str)> {
        let refuse = |status, why| (Box::new(request.refuse(status)), why);
        let domain = domain_of(request.from().uri())
            .ok_or_else(|| refuse(Status::FORBIDDEN, "from-without-domain"))?;
        let peer = policy
            .sip_peer(&domain)
            .ok_or_else(|| refuse(Status::FORBIDDEN, "domain"))?;
        let ascii = domain_to_ascii(&domain)
            .map_err(|_| refuse(Status::FORBIDDEN, "from-without-domain"))?;
        if !proof.speaks_for(peer, &ascii) {
            tracing::warn!(peer = %peer.name, %domain, proof = %proof.shown(), "a request was refused: the connection does not prove the domain");
            return Err(refuse(Status::FORBIDDEN, "certificate"));
        }
        match request.method() {
            Method::Extension(_) => {
                let (refusal, why) = refuse(Status::NOT_IMPLEMENTED, "method");
                return Err((Box::new(refusal.with(HeaderName::Allow, ALLOW)), why));
            }
            Method::Benotify => {}
            method if ALLOW.split(", ").all(|known| known != method.as_str()) => {
                let (refusal, why) = refuse(Status::METHOD_NOT_ALLOWED, "method");
                return Err((Box::new(refusal.with(HeaderName::Allow, ALLOW)), why));
            }
            _ => {}
        }
        // The way on, into XMPP, is a hop.
        if request.max_forwards() == Some(0) && *request.method() != Method::Options {
            return Err(refuse(Status::TOO_MANY_HOPS, "hops"));
        }
        request
            .check_required(&[])
            .map_err(|refusal| (refusal, "extension"))?;
        self.destination(request).map_err(|(status, why)| {
            let (mut refusal, why) = refuse(status, why);
            if why == "destination" {
                let words = "nothing is passed on between other domains";
                let warning = format!("399 {} \"{words}\"", self.host);
                *refusal = refusal.with(HeaderName::Warning, warning);
            }
            (refusal, why)
        })?;
        Ok(Admitted {
            peer: Arc::clone(peer),
            domain,
        })
    }

    /// Whether the request is for us.
    fn destination(&self, request: &Request) -> Result<(), (Status, &'static str)> {
        if *request.method() == Method::Cancel {
            // It finds its INVITE by the branch.
            return Ok(());
        }
        if let Some(tag) = request.to().tag() {
            return match self.key.owner_of_tag(tag.as_bytes()) {
                Some(_) => Ok(()),
                None => Err((Status::CALL_DOES_NOT_EXIST, "dialog")),
            };
        }
        let uri = request.uri();
        let for_the_host = uri.host_str().eq_ignore_ascii_case(&self.host);
        if for_the_host && *request.method() == Method::Options {
            return Ok(());
        }
        // Nothing is relayed: a domain that is not ours is not found here.
        match domain_of(uri) {
            Some(domain) if self.domains.contains(&domain) => {
                match uri.user().is_some() || *request.method() == Method::Options {
                    true => Ok(()),
                    false => Err((Status::ADDRESS_INCOMPLETE, "user")),
                }
            }
            _ => Err((Status::NOT_FOUND, "destination")),
        }
    }
}

/// A request that passed.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) peer: Arc<SipPeerConfig>,
    /// The domain that it is from, with U-labels.
    pub(super) domain: String,
}

/// The domain of an address, in the form used inside: lower case, U-labels.
pub(super) fn domain_of(uri: &Uri) -> Option<String> {
    domain_named(uri.host_str())
}

/// The same of a host name.
pub(super) fn domain_named(host: &str) -> Option<String> {
    let jid = BareJid::new(host).ok()?;
    jid.node().is_none().then(|| jid.domain().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use entente_sip_core::generator::Generator;
    use entente_sip_core::message::{Limits, Message};
    use entente_sip_core::owner::Owner;
    use entente_sip_core::validate::{Checked, check};

    use super::super::proof::tests::{certificate, peer};
    use super::*;
    use crate::config::{PeerConfig, SipPeers};

    fn gate() -> Gate {
        Gate {
            domains: HashSet::from(["siena.example".to_owned()]),
            host: "sip.siena.example".to_owned(),
            key: OwnerKey::new(b"one cluster"),
        }
    }

    fn policy() -> FederationPolicy {
        let mut sip = SipPeers::default();
        sip.by_domain
            .insert("foreign.example".to_owned(), Arc::new(peer()));
        FederationPolicy {
            allow_by_default: true,
            messages_per_second: 500,
            subscriptions_per_minute: 600,
            peers: HashMap::new(),
            sip,
        }
    }

    fn request(method: &str, uri: &str, from: &str, to: &str, more: &str) -> Box<Request> {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS foreign.example;branch=z9hG4bK1\r\n\
             From: <{from}>;tag=a\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n{more}\
             Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
        match check(message).unwrap() {
            Checked::Request(request) => request,
            Checked::Response(_) => panic!("a request"),
        }
    }

    fn message(from: &str) -> Box<Request> {
        request(
            "MESSAGE",
            "sip:alice@siena.example",
            from,
            "<sip:alice@siena.example>",
            "",
        )
    }

    /// The status of the refusal; 0 when it passes, 1 when it is dropped.
    fn verdict(policy: &FederationPolicy, request: &Request) -> u16 {
        match gate().admit(policy, &certificate(&["foreign.example"]), request) {
            Ok(_) => 0,
            Err(Closed::Drop(_)) => 1,
            Err(Closed::Refuse(refusal, _)) => refusal.status().code(),
        }
    }

    #[test]
    fn only_domains_that_the_connection_proves_get_in() {
        assert_eq!(verdict(&policy(), &message("sip:bob@foreign.example")), 0);
        for stranger in [
            "sip:bob@sub.foreign.example",
            "sip:bob@example",
            "sip:bob@siena.example",
            "sip:bob@192.0.2.1",
            "tel:+15551234",
        ] {
            assert_eq!(verdict(&policy(), &message(stranger)), 403, "{stranger}");
        }
        let other = certificate(&["other.example"]);
        let request = message("sip:bob@foreign.example");
        assert!(gate().admit(&policy(), &other, &request).is_err());
    }

    #[test]
    fn a_clearing_house_speaks_for_what_no_other_place_names() {
        let mut policy = policy();
        let mut house = peer();
        house.tls_subjects = vec!["foreign.example".to_owned()];
        policy.sip.other = Some(Arc::new(house));
        assert_eq!(verdict(&policy, &message("sip:bob@anywhere.example")), 0);
        policy
            .peers
            .insert("denied.example".to_owned(), PeerConfig::default());
        assert_eq!(verdict(&policy, &message("sip:bob@denied.example")), 403);
    }

    #[test]
    fn what_is_not_for_us_is_not_relayed() {
        let to = |uri: &str, method: &str| {
            verdict(
                &policy(),
                &request(method, uri, "sip:b@foreign.example", "<sip:x@y>", ""),
            )
        };
        assert_eq!(to("sip:alice@elsewhere.example", "MESSAGE"), 404);
        assert_eq!(to("sip:alice@sub.siena.example", "MESSAGE"), 404);
        assert_eq!(to("sip:siena.example", "MESSAGE"), 484);
        assert_eq!(to("sip:sip.siena.example", "MESSAGE"), 404);
        assert_eq!(to("sip:sip.siena.example", "OPTIONS"), 0);
        assert_eq!(to("sip:siena.example", "OPTIONS"), 0);
    }

    #[test]
    fn dialogs_that_are_not_of_this_cluster_do_not_exist() {
        let mut random = Generator::new([7; 16]);
        let ours = gate().key.tag(&Owner::new("ab").unwrap(), &mut random);
        let within = |tag: &str| {
            let to = format!("<sip:alice@siena.example>;tag={tag}");
            // A NOTIFY goes to our Contact, whatever that is.
            verdict(
                &policy(),
                &request("NOTIFY", "sip:x", "sip:b@foreign.example", &to, ""),
            )
        };
        assert_eq!(within(&ours), 0);
        assert_eq!(within("made-up"), 481);
    }

    #[test]
    fn methods_extensions_and_hops_have_their_own_answers() {
        let of = |method: &str, more: &str| {
            let uri = "sip:alice@siena.example";
            verdict(
                &policy(),
                &request(
                    method,
                    uri,
                    "sip:b@foreign.example",
                    "<sip:alice@siena.example>",
                    more,
                ),
            )
        };
        assert_eq!(of("REGISTER", ""), 405);
        assert_eq!(of("FROB", ""), 501);
        assert_eq!(
            of("INVITE", "Require: com.microsoft.rtc-multiparty\r\n"),
            420
        );
        assert_eq!(of("MESSAGE", "Max-Forwards: 0\r\n"), 483);
        assert_eq!(of("OPTIONS", "Max-Forwards: 0\r\n"), 0);
        assert_eq!(of("MESSAGE", "Max-Forwards: 1\r\n"), 0);
        // Never answered.
        assert_eq!(of("BENOTIFY", ""), 0);
        let stranger = request(
            "ACK",
            "sip:a@siena.example",
            "sip:x@y.example",
            "<sip:a@b>",
            "",
        );
        assert_eq!(verdict(&policy(), &stranger), 1);
    }
}
