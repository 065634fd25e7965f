//! Who gets in: certificates on both sides, and the domains that they prove.

use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, SanType};

use super::{BEHIND_EDGE, DOMAIN, EDGE, PARTNER, World, options};
use crate::harness::{Issued, SIP_TLS_PORT, SipWire, client_tls};

/// Whether a connection with this certificate gets an answer at all.
async fn is_heard(world: &World, certificate: Option<&Issued>) -> bool {
    let address = world.cluster.nodes[0].socket(SIP_TLS_PORT);
    let tls = client_tls(rustls::ALL_VERSIONS, certificate);
    // With TLS 1.3 the client learns of a refusal when it reads.
    let Ok(mut wire) = SipWire::connect(address, tls, DOMAIN).await else {
        return false;
    };
    wire.send(options(PARTNER)).await;
    wire.next().await.is_some()
}

pub async fn a_certificate_is_a_must(world: Arc<World>) {
    assert!(!is_heard(&world, None).await);
    assert!(is_heard(&world, Some(&world.certificate(&[PARTNER]))).await);
}

pub async fn certificates_of_nobody_are_refused(world: Arc<World>) {
    let authority = &world.cluster.authority;
    let unsigned = authority.self_signed("sip-unsigned", &[PARTNER]);
    assert!(!is_heard(&world, Some(&unsigned)).await);
    let expired = authority.expired("sip-expired", &[PARTNER]);
    assert!(!is_heard(&world, Some(&expired)).await);
}

pub async fn a_certificate_speaks_for_its_domain_only(world: Arc<World>) {
    let mut wire = world.wire(0, &world.certificate(&["other.example"])).await;
    for domain in [PARTNER, BEHIND_EDGE, "other.example", DOMAIN] {
        wire.send(options(domain)).await;
        assert_eq!(wire.status().await, 403, "{domain}");
    }
    let wildcard = world.certificate(&["*.example"]);
    let mut wire = world.wire(0, &wildcard).await;
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 403);
    let mut wire = world.partner(0).await;
    for (domain, status) in [
        (PARTNER, 200),
        ("sub.partner.example", 403),
        (BEHIND_EDGE, 403),
        (PARTNER, 200),
    ] {
        wire.send(options(domain)).await;
        assert_eq!(wire.status().await, status, "{domain}");
    }
}

/// RFC 5922: `sip:domain` in the certificate; and CAs that issue for clients only.
pub async fn uris_and_client_certificates_count(world: Arc<World>) {
    let authority = &world.cluster.authority;
    let uri = format!("sip:{PARTNER}");
    let by_uri = authority.issue_changed("sip-uri", &["host.example"], |params| {
        let uri = SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names.push(uri);
    });
    let mut wire = world.wire(1, &by_uri).await;
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 200);
    let for_clients = authority.issue_changed("sip-client", &[PARTNER], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let mut wire = world.wire(1, &for_clients).await;
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 200);
}

pub async fn a_subject_in_the_configuration_counts(world: Arc<World>) {
    let mut wire = world.wire(0, &world.certificate(&[EDGE])).await;
    wire.send(options(BEHIND_EDGE)).await;
    assert_eq!(wire.status().await, 200);
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 403);
    let mut wire = world.wire(0, &world.certificate(&[BEHIND_EDGE])).await;
    wire.send(options(BEHIND_EDGE)).await;
    assert_eq!(wire.status().await, 403);
}

pub async fn both_versions_of_tls(world: Arc<World>) {
    let certificate = world.certificate(&[PARTNER]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let address = world.cluster.nodes[0].socket(SIP_TLS_PORT);
        let tls = client_tls(&[version], Some(&certificate));
        let mut wire = SipWire::connect(address, tls, DOMAIN).await.unwrap();
        wire.send(options(PARTNER)).await;
        assert_eq!(wire.status().await, 200, "{version:?}");
    }
}
