//! Two nodes and the rest of the world: a real Prosody, a real ejabberd, and a peer of which the
//! test writes every byte.

mod carried;
mod policy;
mod real;
mod scripted;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::harness::{
    Cases, Cluster, Ejabberd, NameServer, Prosody, Settings, VirtualHost, case, have,
};

pub const DOMAIN: &str = "siena.example";
pub const PROSODY: &str = "prosody.example";
/// Served by the same Prosody, with a certificate that nobody signed.
pub const UNSIGNED: &str = "unsigned.example";
/// With a certificate of the right CA for another domain.
pub const MISNAMED: &str = "misnamed.example";
/// Denied by our policy.
pub const DENIED: &str = "denied.example";
/// Without TLS.
pub const BARE: &str = "bare.example";
pub const EJABBERD: &str = "ejabberd.example";
/// The scripted peer's.
pub const SCRIPTED: &str = "scripted.example";
/// The scripted domain that our nodes are made to call, and no case speaks for unasked: a key that a
/// case offers for a domain has our nodes call that domain's server, some time later.
pub const CALLED: &str = "called.example";

/// Served by the same Prosody, which uses streams in both directions there (XEP-0288).
pub const BIDI: &str = "bidi.example";
/// Served by the same Prosody, to be reached by direct TLS only (XEP-0368).
pub const DIRECT: &str = "direct.example";
/// Served by the same Prosody: in JIDs as it is written, in DNS and in the certificate in A-labels.
pub const IDN: &str = "bücher.example";
pub const IDN_ASCII: &str = "xn--bcher-kva.example";
/// A scripted domain that uses streams in both directions.
pub const BOTHWAYS: &str = "bothways.example";
/// A scripted domain that announces limits.
pub const LIMITED: &str = "limited.example";

pub fn address(last: u8) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(127, 61, 3, last))
}

/// Everything that runs.
pub struct World {
    pub cluster: Cluster,
    pub prosody: Prosody,
    pub ejabberd: Ejabberd,
    pub names: NameServer,
}

#[tokio::test(flavor = "multi_thread")]
async fn federation() {
    let packages = [
        ("prosody", "prosody"),
        ("ejabberdctl", "ejabberd"),
        ("unbound", "unbound"),
        ("dig", "bind9-dnsutils"),
    ];
    if !packages
        .iter()
        .all(|(program, package)| have(program, package))
    {
        return;
    }
    let world = Arc::new(start().await);
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(world, real::prosody_presence_and_messages),
            case!(world, real::prosody_hears_of_leaving),
            case!(world, real::ejabberd_presence_and_messages),
            case!(world, real::ejabberd_hears_of_leaving),
            case!(world, real::many_messages_in_order),
            case!(world, real::requests_cross_domains),
            case!(world, real::direct_tls_is_found_and_used),
            case!(world, real::international_domain_names),
            case!(world, carried::prosody_uses_streams_both_ways),
            case!(world, carried::what_was_on_the_peers_stream_is_sent_again),
            case!(world, carried::announced_limits_are_obeyed),
            case!(world, real::offline_users_get_messages_later),
            case!(world, policy::dialback_with_an_unsigned_certificate),
            case!(
                world,
                policy::wrong_certificate_is_refused_where_one_is_required
            ),
            case!(world, policy::denied_domain_is_not_heard),
            case!(world, policy::no_tls_no_federation),
            case!(world, policy::unknown_domain_bounces),
            case!(world, scripted::headers),
            case!(world, scripted::external_with_a_good_certificate),
            case!(world, scripted::no_external_without_a_good_certificate),
            case!(world, scripted::failed_external_leaves_the_stream_open),
            case!(world, scripted::no_dialback_where_a_certificate_is_required),
            case!(world, scripted::spoofed_from),
            case!(world, scripted::stanzas_for_other_hosts),
            case!(world, scripted::keys_are_verified_on_any_node),
            case!(world, scripted::both_versions_of_tls),
            case!(world, scripted::nothing_but_starttls_before_tls),
            case!(world, scripted::whitespace_is_a_keepalive),
        ])
        .await;
    cases
        .in_order(vec![
            case!(world, real::streams_are_shown),
            case!(world, real::the_check_looks_from_outside),
            case!(world, real::a_dead_nodes_share_moves),
        ])
        .await;
    cases.check(world.cluster.faults());
    cases.finish(|| {
        let parts = [
            world.cluster.evidence(),
            world.prosody.evidence(),
            world.ejabberd.evidence(),
            world.names.evidence(),
        ];
        parts.join("\n")
    });
}

async fn start() -> World {
    let extra = format!(
        "[xmpp]\nresolver = [\"{names}:15353\"]\ntrusted_ca_file = \"ca/ca.pem\"\nqueue_seconds = 10\n\
         [federation.domains.\"{DENIED}\"]\npolicy = \"deny\"\n\
         [federation.domains.\"{MISNAMED}\"]\nrequire_certificate = true\n",
        names = address(53)
    );
    let settings = Settings {
        name: "fed",
        net: 3,
        nodes: 2,
        clustered: true,
        domains: vec![DOMAIN],
        extra,
    };
    let external = [
        (PROSODY, address(11)),
        (UNSIGNED, address(11)),
        (MISNAMED, address(11)),
        (DENIED, address(11)),
        (BARE, address(11)),
        (EJABBERD, address(12)),
        (SCRIPTED, address(13)),
        (CALLED, address(14)),
        (BIDI, address(11)),
        (IDN_ASCII, address(11)),
        (BOTHWAYS, address(15)),
        (LIMITED, address(16)),
    ];
    let records = [format!(
        "_xmpps-server._tcp.{DIRECT}. 1 IN SRV 0 1 15270 host.{PROSODY}."
    )];
    let cluster = Cluster::start(settings).await;
    let folder = cluster.folder.path();
    let ours: Vec<IpAddr> = cluster.nodes.iter().map(|node| node.address).collect();
    let names = NameServer::start(folder, address(53), &external, (DOMAIN, &ours), &records).await;
    let authority = &cluster.authority;
    let host = |domain, certificate, extra| VirtualHost {
        domain,
        certificate,
        extra,
    };
    let hosts = [
        host(PROSODY, authority.issue(PROSODY, &[PROSODY]), ""),
        host(
            UNSIGNED,
            authority.self_signed(UNSIGNED, &[UNSIGNED]),
            "  s2s_secure_auth = false\n",
        ),
        host(
            MISNAMED,
            authority.issue(MISNAMED, &["other.example"]),
            "  s2s_secure_auth = false\n",
        ),
        host(DENIED, authority.issue(DENIED, &[DENIED]), ""),
        host(
            BIDI,
            authority.issue(BIDI, &[BIDI]),
            "  modules_enabled = { \"s2s_bidi\" }\n",
        ),
        host(DIRECT, authority.issue(DIRECT, &[DIRECT]), ""),
        host(
            IDN,
            authority.issue(IDN_ASCII, &[IDN_ASCII]),
            "  c2s_require_encryption = false\n",
        ),
        host(
            BARE,
            authority.issue(BARE, &[BARE]),
            "  modules_disabled = { \"tls\" }\n  c2s_require_encryption = false\n  s2s_require_encryption = false\n  \
             s2s_secure_auth = false\n  allow_unencrypted_plain_auth = true\n",
        ),
    ];
    let ca = authority.certificate();
    let certificate = authority.issue(EJABBERD, &[EJABBERD]);
    let nodes: Vec<(String, IpAddr)> = cluster
        .nodes
        .iter()
        .map(|node| (node.host.clone(), node.address))
        .collect();
    let (prosody, ejabberd) = tokio::join!(
        Prosody::start(folder, address(11), &names, &ca, &hosts),
        Ejabberd::start(
            folder,
            address(12),
            &names,
            &ca,
            EJABBERD,
            &certificate,
            &nodes
        ),
    );
    World {
        cluster,
        prosody,
        ejabberd,
        names,
    }
}
