//! `entente status`: the cluster as this node sees it.

use axum::Json;
use axum::extract::State;
use entente_cluster::{MemberState, Standing};
use serde::{Deserialize, Serialize};

use super::{AdminState, Shared};
use crate::clock::{now, wall_ms};
use crate::drain::Progress;
use crate::phase::Phase;

/// The answer to `GET /status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) node: String,
    pub(crate) generation: u64,
    pub(crate) version: String,
    pub(crate) phase: String,
    /// How far a drain is; absent while none is going on.
    pub(crate) drain: Option<Progress>,
    pub(crate) unready: Vec<String>,
    pub(crate) uptime_seconds: u64,
    pub(crate) lease_age_ms: Option<u64>,
    pub(crate) view_version: u64,
    pub(crate) members: Vec<MemberStatus>,
    pub(crate) links: Vec<LinkStatus>,
    pub(crate) client_connections: usize,
    pub(crate) sessions_and_streams: usize,
    pub(crate) streams: serde_json::Value,
    pub(crate) dns_serial: u32,
    pub(crate) store: StoreStatus,
    pub(crate) certificates: Vec<CertificateStatus>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemberStatus {
    pub(crate) id: String,
    pub(crate) generation: u64,
    pub(crate) state: String,
    pub(crate) standing: String,
    pub(crate) roles: String,
    pub(crate) host: String,
    pub(crate) mesh: String,
    /// Share of all users that have their home there, in percent.
    pub(crate) home_share: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LinkStatus {
    pub(crate) peer: String,
    pub(crate) connected: bool,
    pub(crate) queued: usize,
    pub(crate) last_error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreStatus {
    pub(crate) healthy: bool,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) voters: Vec<String>,
    pub(crate) learners: Vec<String>,
    pub(crate) applied: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CertificateStatus {
    pub(crate) domain: String,
    pub(crate) expires_in_days: Option<i64>,
}

/// Days before a certificate's end at which the operator is warned.
pub(crate) const EXPIRY_WARNING_DAYS: i64 = 14;

pub(super) async fn show(State(state): State<Shared>) -> Json<Status> {
    Json(status(&state).await)
}

/// Why the node is not ready; empty when it is.
pub(super) async fn unready(state: &AdminState) -> Vec<String> {
    let mut reasons = Vec::new();
    let phase = *state.phase.phase().borrow();
    match state.drain.progress() {
        Some(progress) if phase == Phase::Draining => {
            reasons.push(format!("the node is draining: {}", progress.text()));
        }
        _ if phase != Phase::Serving => reasons.push(format!("the node is {}", phase.name())),
        _ => {}
    }
    if !state.membership.local_fence.may_ack(now()) {
        reasons.push(
            "the lease in the store is not renewed (no majority, or the disk is full or stuck)"
                .to_owned(),
        );
    }
    let store = state.store.status().await;
    if store.leader.is_none() {
        reasons.push("the store has no leader".to_owned());
    }
    reasons
}

async fn status(state: &AdminState) -> Status {
    let view = state.membership.view().borrow().clone();
    let shares = home_shares(&view);
    let store = state.store.status().await;
    let unready = unready(state).await;
    let phase = *state.phase.phase().borrow();
    let name = |member: &entente_store::Member| member.name.clone();
    Status {
        node: state.node.as_str().to_owned(),
        generation: state.membership.generation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: phase.name().to_owned(),
        drain: state.drain.progress(),
        unready,
        uptime_seconds: now().duration_since(state.started).as_secs(),
        lease_age_ms: state
            .membership
            .local_fence
            .age(now())
            .map(|age| age.as_millis() as u64),
        view_version: view.version,
        members: view
            .members
            .iter()
            .zip(shares)
            .map(|(member, home_share)| MemberStatus {
                id: member.id.as_str().to_owned(),
                generation: member.generation,
                state: match member.state {
                    MemberState::Joining => "joining",
                    MemberState::Ready => "ready",
                    MemberState::Draining => "draining",
                    MemberState::Leaving => "leaving",
                }
                .to_owned(),
                standing: match member.standing {
                    Standing::Serving => "serving",
                    Standing::EdgeOnly => "edge-only",
                    Standing::Down => "down",
                }
                .to_owned(),
                roles: member.roles.to_string(),
                host: member.host.clone(),
                mesh: member.mesh.to_string(),
                home_share,
            })
            .collect(),
        links: state
            .mesh
            .link_states()
            .into_iter()
            .map(|link| LinkStatus {
                peer: link.peer.as_str().to_owned(),
                connected: link.connected,
                queued: link.queued_frames,
                last_error: link.last_error.as_ref().map(ToString::to_string),
            })
            .collect(),
        client_connections: state.clients.admission.open(),
        sessions_and_streams: state.switchboard.connections.count(),
        streams: serde_json::to_value(state.xmpp.status()).unwrap_or_default(),
        dns_serial: state.dns.published().serial.0,
        store: StoreStatus {
            healthy: store.healthy,
            leader: store.leader.as_ref().map(name),
            term: store.term,
            voters: store.voters.iter().map(name).collect(),
            learners: store.learners.iter().map(name).collect(),
            applied: store.applied,
        },
        certificates: state
            .certificates
            .iter()
            .map(|(domain, file)| CertificateStatus {
                domain: domain.clone(),
                expires_in_days: days_left(file),
            })
            .collect(),
    }
}

/// The share of each member, in the view's order, over a sample of addresses.
fn home_shares(view: &entente_cluster::ClusterView) -> Vec<f64> {
    const SAMPLE: u32 = 2000;
    let mut counts = vec![0_u32; view.members.len()];
    for n in 0..SAMPLE {
        if let Some(home) = view.home_of(&format!("sample{n}@example.com"))
            && let Some(index) = view.members.iter().position(|member| member.id == *home)
        {
            counts[index] += 1;
        }
    }
    counts
        .into_iter()
        .map(|count| f64::from(count) * 100.0 / f64::from(SAMPLE))
        .collect()
}

/// Days until the end of the first certificate of a file.
pub(crate) fn days_left(file: &std::path::Path) -> Option<i64> {
    let chain = crate::tls::pem::chain(file).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let end = certificate.validity().not_after.timestamp();
    Some((end - (wall_ms() / 1000) as i64) / 86_400)
}

/// Gauges that are read off rather than counted.
pub(super) fn gauge(state: &AdminState) {
    let view = state.membership.view().borrow().clone();
    let alive = view
        .members
        .iter()
        .filter(|member| member.standing != Standing::Down)
        .count();
    metrics::gauge!("entente_members_alive").set(alive as f64);
    metrics::gauge!("entente_client_connections").set(state.clients.admission.open() as f64);
    if let Some(sip) = &state.sip {
        sip.gauge();
    }
    metrics::gauge!("entente_dns_serial").set(f64::from(state.dns.published().serial.0));
    for (domain, file) in &state.certificates {
        if let Some(days) = days_left(file) {
            metrics::gauge!("entente_certificate_days_left", "domain" => domain.clone())
                .set(days as f64);
        }
    }
}
