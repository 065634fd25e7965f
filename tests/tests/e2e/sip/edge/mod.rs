//! Two nodes with SIP federation, and peers of which the test writes every byte.

mod operation;
mod refusals;
mod trust;

use std::sync::Arc;

use crate::harness::{
    Cases, Cluster, Issued, SIP_TLS_PORT, Settings, SipWire, case, client_tls, have,
};

pub const DOMAIN: &str = "siena.example";
/// In Via and Contact of our nodes.
pub const HOST: &str = "sip.siena.example";
/// A peer that shows a certificate for its domain.
pub const PARTNER: &str = "partner.example";
/// A peer whose certificate is for a host that the configuration names.
pub const EDGE: &str = "edge.example";
pub const BEHIND_EDGE: &str = "lync.example";

/// An organisation with XMPP.
pub const XMPP_PARTNER: &str = "xmpp.example";

/// Everything that runs.
pub struct World {
    pub cluster: Cluster,
}

#[tokio::test(flavor = "multi_thread")]
async fn edge() {
    if !have("dig", "bind9-dnsutils") {
        return;
    }
    let world = Arc::new(World {
        cluster: Cluster::start(settings()).await,
    });
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(world, trust::a_certificate_is_a_must),
            case!(world, trust::certificates_of_nobody_are_refused),
            case!(world, trust::a_certificate_speaks_for_its_domain_only),
            case!(world, trust::uris_and_client_certificates_count),
            case!(world, trust::a_subject_in_the_configuration_counts),
            case!(world, trust::both_versions_of_tls),
            case!(world, refusals::options_on_every_node),
            case!(world, refusals::pings_are_answered),
            case!(world, refusals::garbage_and_lies_about_lengths),
            case!(world, refusals::refusals_in_the_words_of_the_rfc),
            case!(world, refusals::nothing_is_passed_on_between_other_domains),
            case!(world, operation::records_name_the_host_inside_the_domain),
            case!(world, operation::peers_are_shown),
        ])
        .await;
    cases
        .in_order(vec![case!(world, operation::a_reload_takes_a_peer_away)])
        .await;
    cases.check(world.cluster.faults());
    cases.finish(|| world.cluster.evidence());
}

fn settings() -> Settings {
    let extra = format!(
        "[xmpp]\ntrusted_ca_file = \"ca/ca.pem\"\n[sip]\nhost = \"{HOST}\"\npublic_port = {SIP_TLS_PORT}\ntrusted_ca_file = \"ca/ca.pem\"\nmax_message_bytes = 8192\n\
         [sip.peer.partner]\ndomains = [\"{PARTNER}\"]\n\
         [sip.peer.edge]\ndomains = [\"{BEHIND_EDGE}\"]\nprofile = \"lync\"\ntls_subjects = [\"{EDGE}\"]\n"
    );
    Settings {
        name: "sipedge",
        net: 10,
        nodes: 2,
        clustered: true,
        domains: vec![DOMAIN],
        extra,
    }
}

impl World {
    /// A connection to a node with this certificate.
    pub async fn wire(&self, node: usize, certificate: &Issued) -> SipWire {
        let address = self.cluster.nodes[node].socket(SIP_TLS_PORT);
        let tls = client_tls(rustls::ALL_VERSIONS, Some(certificate));
        SipWire::connect(address, tls, DOMAIN).await.unwrap()
    }

    /// A certificate for these names, of the CA that our nodes trust.
    pub fn certificate(&self, names: &[&str]) -> Issued {
        let file = format!("{}-{:x}", names[0], rand::random::<u64>());
        self.cluster.authority.issue(&file, names)
    }

    /// The partner's connection.
    pub async fn partner(&self, node: usize) -> SipWire {
        self.wire(node, &self.certificate(&[PARTNER])).await
    }
}

/// A request without a body.
pub fn request(method: &str, uri: &str, from: &str, more: &str) -> String {
    let branch = rand::random::<u64>();
    let to = uri.split(';').next().unwrap();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS host.{PARTNER};branch=z9hG4bK{branch:x}\r\n\
         From: <sip:{from}>;tag=f\r\nTo: <{to}>\r\nCall-ID: {branch:x}\r\nCSeq: 1 {method}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
}

/// OPTIONS of this domain.
pub fn options(domain: &str) -> String {
    request("OPTIONS", &format!("sip:{DOMAIN}"), domain, "")
}
