//! Who the other end of a connection proved to be, and for which domains that lets it speak (E1, RFC 5922).

use std::net::IpAddr;

use crate::config::{SipPeerConfig, SipTransport};
use crate::tls::CertificateNames;

/// What a connection goes by.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// The names in a certificate of a trusted CA.
    Certificate(CertificateNames),
    /// The address alone: TCP in labs.
    Address(IpAddr),
}

impl Proof {
    /// Whether the other end may speak for `domain` (A-labels), which the configuration gives to
    /// `peer`: by a subject that the operator wrote down, by the host that a static route names, or by
    /// the domain itself. A host that only DNS named proves nothing: DNS can be forged.
    pub(super) fn speaks_for(&self, peer: &SipPeerConfig, domain: &str) -> bool {
        match (self, peer.transport) {
            (Self::Certificate(names), SipTransport::Tls) if peer.tls_subjects.is_empty() => {
                let mut hosts = peer.targets.iter().map(|(host, _)| host.as_str());
                hosts.any(|host| names.have(host, false)) || names.prove(domain)
            }
            (Self::Certificate(names), SipTransport::Tls) => peer
                .tls_subjects
                .iter()
                .any(|subject| names.have(subject, peer.allow_common_name)),
            (Self::Address(address), SipTransport::Tcp) => peer.is_target_address(*address),
            _ => false,
        }
    }

    /// For the log and the status.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Certificate(names) => names.shown(),
            Self::Address(address) => address.to_string(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;
    use crate::config::SipProfile;

    /// A peer that serves `foreign.example` and is found by DNS.
    pub(crate) fn peer() -> SipPeerConfig {
        SipPeerConfig {
            name: "partner".into(),
            domains: vec!["foreign.example".to_owned()],
            targets: Vec::new(),
            transport: SipTransport::Tls,
            profile: SipProfile::Simple,
            tls_subjects: Vec::new(),
            allow_common_name: false,
            requests_per_second: 20,
            aliases: BTreeMap::new(),
            one_node: false,
        }
    }

    /// What a certificate with these DNS names proves; without any, its common name is `edge.example`.
    pub(crate) fn certificate(names: &[&str]) -> Proof {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "edge.example");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Proof::Certificate(CertificateNames::of(certificate.der()))
    }

    #[test]
    fn without_more_only_the_domain_itself_counts() {
        let proof = certificate(&["foreign.example"]);
        assert!(proof.speaks_for(&peer(), "foreign.example"));
        assert!(!certificate(&["sip.foreign.example"]).speaks_for(&peer(), "foreign.example"));
        assert!(!proof.speaks_for(&peer(), "im.foreign.example"));
    }

    #[test]
    fn subjects_that_are_written_down_count_alone_and_for_all_domains() {
        let mut peer = peer();
        peer.tls_subjects = vec!["edge.example".to_owned()];
        assert!(certificate(&["edge.example"]).speaks_for(&peer, "foreign.example"));
        assert!(certificate(&["edge.example"]).speaks_for(&peer, "other.example"));
        assert!(!certificate(&["foreign.example"]).speaks_for(&peer, "foreign.example"));
        let common_name_only = certificate(&[]);
        assert!(!common_name_only.speaks_for(&peer, "foreign.example"));
        peer.allow_common_name = true;
        assert!(common_name_only.speaks_for(&peer, "foreign.example"));
    }

    #[test]
    fn the_host_of_a_static_route_counts() {
        let mut peer = peer();
        peer.targets = vec![("edge.foreign.example".to_owned(), 5061)];
        assert!(certificate(&["edge.foreign.example"]).speaks_for(&peer, "foreign.example"));
        assert!(!certificate(&["other.foreign.example"]).speaks_for(&peer, "foreign.example"));
    }

    #[test]
    fn an_address_counts_only_for_peers_without_tls() {
        let mut peer = peer();
        peer.targets = vec![("192.0.2.7".to_owned(), 5060)];
        let address = Proof::Address([192, 0, 2, 7].into());
        assert!(!address.speaks_for(&peer, "foreign.example"));
        peer.transport = SipTransport::Tcp;
        assert!(address.speaks_for(&peer, "foreign.example"));
        assert!(!Proof::Address([192, 0, 2, 8].into()).speaks_for(&peer, "foreign.example"));
        assert!(!certificate(&["foreign.example"]).speaks_for(&peer, "foreign.example"));
    }
}
