//! Accounts: add, set a password, remove, list, on any node of a running cluster.

use crate::clock::wall_ms;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use entente_cluster::NodeId;
use entente_home_core::Input;
use entente_store::{ScramKeys as StoredKeys, ScramSet, StoreError};
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::sasl::{ScramHash, ScramKeys};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::fabric::everywhere;

/// A new account or a new password.
#[derive(Serialize, Deserialize)]
pub(crate) struct Password {
    pub(crate) jid: String,
    pub(crate) password: String,
}

/// A page of accounts.
#[derive(Deserialize)]
pub(super) struct Page {
    domain: Option<String>,
    after: Option<String>,
}

const PAGE: u32 = 1000;

type Reply = (StatusCode, String);

pub(super) async fn add(State(state): State<Shared>, Json(request): Json<Password>) -> Reply {
    let user = match account(&state.domains, &request.jid) {
        Ok(user) => user,
        Err(reply) => return reply,
    };
    let credentials = match derive(request.password).await {
        Ok(credentials) => credentials,
        Err(reply) => return reply,
    };
    match state
        .store
        .add_account(user.as_str(), &credentials, wall_ms())
        .await
    {
        Ok(()) => told(&state, StatusCode::CREATED, format!("{user} is added")).await,
        Err(error) => failed(&user, &error),
    }
}

pub(super) async fn set_password(
    State(state): State<Shared>,
    Path(jid): Path<String>,
    Json(request): Json<Password>,
) -> Reply {
    let user = match account(&state.domains, &jid) {
        Ok(user) => user,
        Err(reply) => return reply,
    };
    let credentials = match derive(request.password).await {
        Ok(credentials) => credentials,
        Err(reply) => return reply,
    };
    match state
        .store
        .set_credentials(user.as_str(), &credentials)
        .await
    {
        Ok(()) => told(&state, StatusCode::OK, format!("{user} has a new password")).await,
        Err(error) => failed(&user, &error),
    }
}

pub(super) async fn remove(State(state): State<Shared>, Path(jid): Path<String>) -> Reply {
    let user = match account(&state.domains, &jid) {
        Ok(user) => user,
        Err(reply) => return reply,
    };
    match state.store.remove_account(user.as_str()).await {
        Ok(()) => {
            let lane = &state.switchboard.shard(user.as_str()).inner;
            let _stopping = lane
                .send(Input::AccountRemoved { user: user.clone() })
                .await;
            told(&state, StatusCode::OK, format!("{user} is removed")).await
        }
        Err(error) => failed(&user, &error),
    }
}

pub(super) async fn list(
    State(state): State<Shared>,
    Query(page): Query<Page>,
) -> impl IntoResponse {
    match state
        .store
        .list_accounts(page.domain.as_deref(), page.after.as_deref(), PAGE)
        .await
    {
        Ok(accounts) => {
            let names: Vec<_> = accounts.into_iter().map(|account| account.user).collect();
            (StatusCode::OK, Json(serde_json::json!({ "users": names })))
        }
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(serde_json::json!({ "error": error.to_string() })),
        ),
    }
}

/// An address that can be an account here.
fn account(domains: &[String], jid: &str) -> Result<BareJid, Reply> {
    let refuse = |why: String| (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n"));
    let user =
        BareJid::new(jid).map_err(|error| refuse(format!("`{jid}` is not an address: {error}")))?;
    if user.node().is_none() {
        return Err(refuse(format!(
            "`{jid}` has no user part: write user@{jid}"
        )));
    }
    if !domains.iter().any(|domain| domain == user.domain()) {
        return Err(refuse(format!(
            "{} is not a local domain; local domains: {}",
            user.domain(),
            domains.join(", ")
        )));
    }
    Ok(user)
}

/// Password hashing takes some milliseconds of CPU: not on the runtime's threads.
async fn derive(password: String) -> Result<ScramSet, Reply> {
    let derived = tokio::task::spawn_blocking(move || {
        let mut set = ScramSet::default();
        for (hash, slot) in [
            (ScramHash::Sha1, &mut set.sha1),
            (ScramHash::Sha256, &mut set.sha256),
        ] {
            let mut salt = vec![0; 16];
            SystemRandom::new().fill(&mut salt).ok()?;
            let keys =
                ScramKeys::derive(hash, &password, &salt, ScramKeys::DEFAULT_ITERATIONS).ok()?;
            *slot = Some(StoredKeys {
                salt: keys.salt,
                iterations: keys.iterations.get(),
                stored_key: keys.stored_key,
                server_key: keys.server_key,
            });
        }
        Some(set)
    });
    derived.await.ok().flatten().ok_or((
        StatusCode::UNPROCESSABLE_ENTITY,
        "the password is empty or has characters that SASLprep forbids\n".to_owned(),
    ))
}

/// The answer to a change that is done: when all live nodes know of it, or with those that may not.
async fn told(state: &Shared, code: StatusCode, text: String) -> Reply {
    let view = state.membership.view().borrow().clone();
    match everywhere(&state.store, &state.mesh, &view).await {
        Ok(late) if late.is_empty() => (code, format!("{text}\n")),
        Ok(late) => {
            let late: Vec<&str> = late.iter().map(NodeId::as_str).collect();
            (
                code,
                format!(
                    "{text}; {} may hear of it a little later\n",
                    late.join(", ")
                ),
            )
        }
        Err(error) => {
            tracing::warn!(%error, "an account was changed; this node's copy is behind");
            (
                code,
                format!("{text}; the nodes may hear of it a little later\n"),
            )
        }
    }
}

fn failed(user: &BareJid, error: &StoreError) -> Reply {
    let status = match error {
        StoreError::Exists => StatusCode::CONFLICT,
        StoreError::NoSuchAccount => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{user}: {error}\n"))
}
