//! Administration: metrics, health, status and accounts over HTTP on loopback. A second listener may
//! show health and metrics only to an orchestrator's network.

mod accounts;
mod peers;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use entente_cluster::forward::Mesh;
use entente_cluster::{MembershipHandle, NodeId};
use entente_store::Store;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::client::ClientService;
use crate::dns::Dns;
use crate::drain::{Drain, Manner};
use crate::fabric::Switchboard;
use crate::phase::{Phase, PhaseControl};
use crate::sip::SipService;
use crate::xmpp::XmppService;

pub(crate) use accounts::Password;
pub(crate) use peers::Peers;
pub(crate) use status::{EXPIRY_WARNING_DAYS, Status, days_left};

/// What the administration looks at.
pub(crate) struct AdminState {
    pub(crate) node: NodeId,
    pub(crate) domains: Vec<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) membership: Arc<MembershipHandle>,
    pub(crate) mesh: Mesh,
    pub(crate) store: Store,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) phase: PhaseControl,
    pub(crate) drain: Drain,
    pub(crate) xmpp: Arc<XmppService>,
    /// Where SIP is on.
    pub(crate) sip: Option<Arc<SipService>>,
    pub(crate) clients: Arc<ClientService>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) certificates: Vec<(String, PathBuf)>,
    pub(crate) started: Instant,
}

type Shared = Arc<AdminState>;

/// The administration's listeners.
pub(crate) struct Admin;

/// Installs the metrics recorder; before anything counts.
pub(crate) fn install_metrics() -> Option<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().ok()
}

static METRICS: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();

/// Keeps the recorder's handle for `/metrics`.
pub(crate) fn keep_metrics(handle: PrometheusHandle) {
    let _second = METRICS.set(handle);
}

impl Admin {
    /// Opens the listeners and serves until the node ends.
    pub(crate) async fn start(
        state: AdminState,
        listen: SocketAddr,
        health: Option<SocketAddr>,
    ) -> Result<(), std::io::Error> {
        let state = Arc::new(state);
        let full = watching()
            .route("/status", get(status::show))
            .route("/peers", get(peers::show))
            .route("/users", get(accounts::list).post(accounts::add))
            .route("/users/{jid}", delete(accounts::remove))
            .route("/users/{jid}/password", put(accounts::set_password))
            .route("/drain", post(drain))
            .route("/undrain", post(undrain))
            .route("/nodes/{id}", delete(remove_node))
            .route("/backup", post(backup))
            .with_state(Arc::clone(&state));
        serve(listen, full).await?;
        if let Some(health) = health {
            serve(health, watching().with_state(state)).await?;
        }
        Ok(())
    }
}

/// What anybody on the listener's network may look at.
fn watching() -> Router<Shared> {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

async fn serve(address: SocketAddr, router: Router) -> Result<(), std::io::Error> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the administration ended");
        }
    });
    Ok(())
}

async fn show_metrics(State(state): State<Shared>) -> impl IntoResponse {
    status::gauge(&state);
    METRICS
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

async fn ready(State(state): State<Shared>) -> impl IntoResponse {
    let reasons = status::unready(&state).await;
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {}\n", reasons.join("; ")),
        )
    }
}

/// How to drain.
#[derive(serde::Deserialize)]
struct DrainRequest {
    /// Without waiting until DNS answers are out of caches.
    #[serde(default)]
    now: bool,
}

/// Begins a drain; the steps are in `/status`.
async fn drain(
    State(state): State<Shared>,
    Query(request): Query<DrainRequest>,
) -> impl IntoResponse {
    if *state.phase.phase().borrow() == Phase::Isolated {
        return (
            StatusCode::CONFLICT,
            "the node is isolated; it serves nobody already\n",
        );
    }
    let manner = if request.now {
        Manner::Quick
    } else {
        Manner::Patient
    };
    state.drain.begin(manner).await;
    (StatusCode::ACCEPTED, "draining\n")
}

async fn undrain(State(state): State<Shared>) -> impl IntoResponse {
    state.drain.undo().await;
    (StatusCode::OK, "serving\n")
}

async fn remove_node(
    State(state): State<Shared>,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> impl IntoResponse {
    let alive = {
        let view = state.membership.view();
        let view = view.borrow();
        view.members.iter().any(|member| {
            member.id.as_str() == id && member.standing != entente_cluster::Standing::Down
        })
    };
    if alive {
        return (
            StatusCode::CONFLICT,
            format!("{id} is up: stop it first, then remove it\n"),
        );
    }
    let removed = async {
        state.store.remove_member(&id).await?;
        state.store.remove_lease(&id).await
    };
    match removed.await {
        Ok(()) => (
            StatusCode::OK,
            format!("{id} is removed; empty its data folder before it joins again\n"),
        ),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{id} was not removed: {error}\n"),
        ),
    }
}

async fn backup(State(state): State<Shared>) -> impl IntoResponse {
    match state.store.backup_to(&state.data_dir.join("backups")).await {
        Ok(file) => (StatusCode::OK, Json(serde_json::json!({ "file": file }))),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(serde_json::json!({ "error": error.to_string() })),
        ),
    }
}
