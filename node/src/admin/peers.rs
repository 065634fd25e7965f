//! `entente peers`: other organisations, with the connections to them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;

/// The answer to `GET /peers`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peers {
    /// One for each peer of the configuration; see `sip::PeerStatus`.
    pub(crate) sip: serde_json::Value,
    /// One for each stream; see `xmpp::StreamStatus`.
    pub(crate) xmpp: serde_json::Value,
}

pub(super) async fn show(State(state): State<Shared>) -> Json<Peers> {
    let sip = state.sip.as_ref().map(|sip| sip.status());
    Json(Peers {
        sip: serde_json::to_value(sip.unwrap_or_default()).unwrap_or_default(),
        xmpp: serde_json::to_value(state.xmpp.status()).unwrap_or_default(),
    })
}
