//! SRV records of the local domains: what DNS answers to others, and what this node's name server says.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use entente_cluster::Roles;
use entente_dns_publisher::PublishPlan;
use entente_xmpp_core::jid::domain_to_ascii;
use tokio::task::JoinSet;

use super::Report;
use crate::commands::CommandError;
use crate::config::Config;
use crate::net::{ResolveFault, Resolver};

/// A host and a port that SRV records name.
pub(super) type Target = (String, u16);

/// Compares all services of all domains; gives the targets that others are led to.
pub(super) async fn check(
    config: &Config,
    outside: &Resolver,
    report: &mut Report,
) -> Result<BTreeSet<Target>, CommandError> {
    let plan = crate::dns::plan(config).map_err(crate::app::AppError::from)?;
    let own = own_name_server(config);
    let inside = match own {
        Some(address) => Resolver::new(&[address]).ok(),
        None => None,
    };
    let mut questions = JoinSet::new();
    let mut asked = Vec::new();
    for domain in config.domains.keys() {
        let ascii =
            domain_to_ascii(domain).map_or_else(|_| domain.clone(), |name| name.into_owned());
        for (service, needed) in services(config) {
            let owner = format!("{service}._tcp.{ascii}");
            let (place, outside, inside) = (asked.len(), outside.clone(), inside.clone());
            asked.push((owner.clone(), needed));
            questions.spawn(async move {
                let theirs = srv(&outside, &owner).await;
                let ours = match &inside {
                    Some(inside) => Some(srv(inside, &owner).await),
                    None => None,
                };
                (place, theirs, ours)
            });
        }
    }
    let mut answers = questions.join_all().await;
    answers.sort_by_key(|(place, ..)| *place);
    let mut targets = BTreeSet::new();
    let mut silent = false;
    for (place, theirs, ours) in answers {
        let (owner, needed) = &asked[place];
        silent |= matches!(ours, Some(Err(ResolveFault::NoAnswer)));
        compare(
            owner,
            *needed,
            &plan,
            config,
            &theirs,
            ours.as_ref(),
            report,
        );
        targets.extend(theirs.into_iter().flatten());
    }
    if let (true, Some(address)) = (silent, own) {
        report.warning(
            format!("name server {address}"),
            "it does not answer, so nothing could be compared with it",
            "start the node, or correct dns.listen",
        );
    }
    Ok(targets)
}

/// What the cluster offers by its configuration, and whether federation depends on it.
fn services(config: &Config) -> Vec<(&'static str, bool)> {
    let on = |list: &[SocketAddr]| !list.is_empty();
    let all = [
        ("_xmpp-server", on(&config.xmpp.listen), true),
        ("_xmpps-server", on(&config.xmpp.direct_tls_listen), false),
        ("_xmpp-client", on(&config.client.listen), false),
        ("_xmpps-client", on(&config.client.direct_tls_listen), false),
        ("_sipfederationtls", config.sip.is_on(), true),
        ("_sips", config.sip.is_on(), false),
    ];
    let offered = all.into_iter().filter(|(_, on, _)| *on);
    offered.map(|(name, _, needed)| (name, needed)).collect()
}

async fn srv(resolver: &Resolver, owner: &str) -> Result<BTreeSet<Target>, ResolveFault> {
    let records = resolver.srv(owner).await?;
    let target = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    Ok(records
        .iter()
        .map(|record| (target(&record.target), record.port))
        .collect())
}

fn compare(
    owner: &str,
    needed: bool,
    plan: &PublishPlan,
    config: &Config,
    theirs: &Result<BTreeSet<Target>, ResolveFault>,
    ours: Option<&Result<BTreeSet<Target>, ResolveFault>>,
    report: &mut Report,
) {
    let delegate = || delegation(owner, plan, config);
    let known = match ours {
        Some(Ok(ours)) => Some(ours),
        _ => None,
    };
    match (theirs, known) {
        (Err(ResolveFault::NoAnswer), _) => report.fault(
            owner,
            "DNS gives no answer",
            "check the resolver and the name servers that the zone is delegated to",
        ),
        (Ok(theirs), Some(ours)) if !theirs.is_empty() && theirs != ours => report.warning(
            owner,
            format!(
                "DNS says {}, but this node publishes {}",
                list(theirs),
                list(ours)
            ),
            "wait for the TTL; if it stays so, correct the delegation",
        ),
        (Ok(theirs), _) if !theirs.is_empty() => report.ok(owner, list(theirs)),
        (_, Some(ours)) if needed => report.fault(
            owner,
            format!("DNS knows no record, this node publishes {}", list(ours)),
            delegate(),
        ),
        _ if needed => report.fault(owner, "DNS knows no record", delegate()),
        _ => report.warning(owner, "DNS knows no record", delegate()),
    }
}

/// How to make the records known.
fn delegation(owner: &str, plan: &PublishPlan, config: &Config) -> String {
    let zone = owner
        .parse()
        .ok()
        .and_then(|name| plan.zone_of(&name).cloned());
    let servers = match config.dns.name_servers.as_slice() {
        [] => config.node.host.clone(),
        named => named.join(", "),
    };
    match zone {
        Some(zone) => format!("delegate {zone} in its parent zone: NS {servers}"),
        None => "it is in none of dns.zones: publish it where your DNS is kept".to_owned(),
    }
}

fn list(targets: &BTreeSet<Target>) -> String {
    let names: Vec<String> = targets
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    names.join(" ")
}

/// Where this node's own name server answers.
fn own_name_server(config: &Config) -> Option<SocketAddr> {
    let first = config.dns.listen.first()?;
    let ip = match first.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    config
        .node
        .roles
        .contains(Roles::DNS)
        .then(|| SocketAddr::new(ip, first.port()))
}
