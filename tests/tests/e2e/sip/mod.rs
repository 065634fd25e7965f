//! SIP federation with software of others: Kamailio with linphonec and baresip as its users, and a
//! scripted peer that behaves like Microsoft's servers.

mod edge;
mod failover;
mod kamailio;
mod lab;
mod lync;
mod microsoft;
mod sipp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::harness::{
    Cases, Cluster, Kamailio, NameServer, SIP_TLS_PORT, Settings, case, have, have_file,
};
use microsoft::MicrosoftPeer;

pub const DOMAIN: &str = "parma.example";
/// What all nodes call themselves in SIP.
pub const SIP_HOST: &str = "sip.parma.example";
/// Kamailio's.
pub const KAMAILIO: &str = "kamailio.example";
/// Of the scripts of sipp that watch.
pub const SIPP: &str = "sipp.example";
/// The scripted Microsoft-like peer's, found by `_sipfederationtls._tcp`.
pub const LYNC: &str = "lync.example";

/// The addresses of everything here.
pub fn address(last: u8) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(127, 61, 8, last))
}

/// Whether all that the tests with Kamailio and its users need is installed.
fn have_kamailio() -> bool {
    [
        ("kamailio", "kamailio"),
        ("linphonec", "linphone-cli"),
        ("baresip", "baresip-core"),
    ]
    .iter()
    .all(|(program, package)| have(program, package))
        && have_file(
            "/usr/share/doc/kamailio-tls-modules",
            "kamailio-tls-modules",
        )
        && have_file(
            "/usr/share/doc/kamailio-presence-modules",
            "kamailio-presence-modules",
        )
}

/// The addresses of these suites belong to one test at a time, in whichever process it runs: hold what
/// this returns to the end.
fn turn() -> std::fs::File {
    let path = std::env::temp_dir().join("entente-e2e-sip.lock");
    let file = std::fs::File::create(path).unwrap();
    file.lock().unwrap();
    file
}

/// Everything that runs.
pub struct World {
    pub cluster: Cluster,
    pub kamailio: Kamailio,
    pub lync: MicrosoftPeer,
    pub names: NameServer,
}

impl World {
    /// Where the SIP of our nodes is.
    pub fn sip(&self) -> Vec<SocketAddr> {
        let nodes = self.cluster.nodes.iter();
        nodes
            .map(|node| SocketAddr::new(node.address, SIP_TLS_PORT))
            .collect()
    }
}

fn have_everything() -> bool {
    have_kamailio() && have("unbound", "unbound") && have("dig", "bind9-dnsutils")
}

/// The turn, which has to outlive the rest, and everything; `None` where something is not installed.
async fn world() -> Option<(std::fs::File, Arc<World>)> {
    if !have_everything() {
        return None;
    }
    let turn = turn();
    Some((turn, Arc::new(start().await)))
}

/// The Microsoft-like peer: presence and texts both ways, its limits and its quirks.
#[tokio::test(flavor = "multi_thread")]
async fn microsoft_like() {
    let Some((_turn, world)) = world().await else {
        return;
    };
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(world, lync::their_probe_is_answered),
            case!(world, lync::their_session),
            case!(world, lync::our_session),
            case!(world, lync::they_watch_us),
            case!(world, lync::unasked_watchers_wait),
            case!(world, lync::we_watch_them),
            case!(world, lync::conferences_are_refused),
            case!(world, lync::unknown_types_are_refused),
        ])
        .await;
    cases
        .in_order(vec![
            case!(world, lync::routes_that_end_are_made_anew),
            case!(world, lync::no_faster_than_they_allow),
            case!(world, lync::a_peers_restart_is_noticed),
        ])
        .await;
    finish(&world, cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn kamailio_users() {
    let Some((_turn, world)) = world().await else {
        return;
    };
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(world, kamailio::linphone_chats),
            case!(world, kamailio::linphone_watches_us),
            case!(world, kamailio::baresip_is_watched_and_chats),
            case!(world, kamailio::nobody_there_is_told),
            case!(world, sipp::sessions_by_script),
            case!(world, sipp::watching_by_script),
        ])
        .await;
    finish(&world, cases);
}

fn finish(world: &World, mut cases: Cases) {
    cases.check(world.cluster.faults());
    cases.check(world.lync.faults());
    cases.finish(|| {
        let parts = [
            world.cluster.evidence(),
            world.kamailio.evidence(),
            world.names.evidence(),
        ];
        parts.join("\n")
    });
}

async fn start() -> World {
    let (kamailio_at, lync_at, names_at) = (address(41), address(50), address(53));
    let extra = format!(
        "[sip]\nhost = \"{SIP_HOST}\"\npublic_port = {SIP_TLS_PORT}\ncertificate_file = \"ca/sip.pem\"\n\
         private_key_file = \"ca/sip.key\"\n\
         [sip.peer.kamailio]\ndomains = [\"{KAMAILIO}\"]\ntargets = [\"{kamailio_at}:{SIP_TLS_PORT}\"]\n\
         profile = \"simple\"\nrequests_per_second = 1000\n\
         [sip.peer.sipp]\ndomains = [\"{SIPP}\"]\nprofile = \"lync\"\n\
         [sip.peer.lync]\ndomains = [\"{LYNC}\"]\nprofile = \"lync\"\n\
         [xmpp]\nresolver = [\"{names_at}:15353\"]\ntrusted_ca_file = \"ca/ca.pem\"\n"
    );
    let cluster = Cluster::start(Settings {
        name: "sip",
        net: 8,
        nodes: 2,
        clustered: true,
        domains: vec![DOMAIN],
        extra,
    })
    .await;
    let folder = cluster.folder.path();
    let nodes: Vec<IpAddr> = cluster.nodes.iter().map(|node| node.address).collect();
    let records = [
        format!("_sipfederationtls._tcp.{LYNC}. 1 IN SRV 0 1 {SIP_TLS_PORT} edge.{LYNC}."),
        format!("edge.{LYNC}. 1 IN A {lync_at}"),
    ];
    let external = [("elsewhere.example", address(54))];
    let names = NameServer::start(folder, names_at, &external, (DOMAIN, &nodes), &records).await;
    let authority = &cluster.authority;
    let certificate = authority.issue_for_both(KAMAILIO, &[KAMAILIO]);
    let ours: Vec<SocketAddr> = nodes
        .iter()
        .map(|node| SocketAddr::new(*node, SIP_TLS_PORT))
        .collect();
    let hosts: Vec<(&str, IpAddr)> = nodes.iter().map(|node| (SIP_HOST, *node)).collect();
    let kamailio = Kamailio::start(
        folder,
        kamailio_at,
        KAMAILIO,
        authority,
        &certificate,
        &[(DOMAIN, ours.clone())],
        &hosts,
    )
    .await;
    let settings = microsoft::Settings {
        domain: LYNC,
        address: SocketAddr::new(lync_at, SIP_TLS_PORT),
        targets: vec![ours[1], ours[0]],
        target_name: DOMAIN,
        strict: true,
    };
    let lync = MicrosoftPeer::start(settings, authority).await;
    World {
        cluster,
        kamailio,
        lync,
        names,
    }
}
