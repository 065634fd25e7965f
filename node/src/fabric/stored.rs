//! Messages that turn up in the store's copy here, whichever node stored them.
//!
//! A home that does not know yet that it is none any more may store a message after the new home has
//! read what there was. So each node looks through its copy for new rows and tells its shards of
//! those of its own users; a home that does not know one reads it.

use std::sync::Arc;
use std::time::Duration;

use entente_home_core::{EnvelopeId, Input};
use entente_store::{OfflineNotice, Store};
use entente_xmpp_core::jid::BareJid;
use tokio::time::sleep;

use super::switchboard::Switchboard;

/// Between two looks at the copy; each is a local read along the primary key.
const PERIOD: Duration = Duration::from_millis(500);
/// Rows of one look; if there are more, the next look follows at once.
const ROWS: u32 = 500;

/// Looks until the shards are gone.
pub(crate) async fn watch(store: Store, switchboard: Arc<Switchboard>) {
    // What is older is read with its user.
    let mut seen = loop {
        match store.newest_offline().await {
            Ok(newest) => break newest,
            Err(error) => tracing::warn!(%error, "the stored messages could not be looked at"),
        }
        sleep(PERIOD).await;
    };
    loop {
        sleep(PERIOD).await;
        loop {
            let notices = match store.offline_notices(seen, ROWS).await {
                Ok(notices) => notices,
                Err(error) => {
                    tracing::warn!(%error, "the stored messages could not be looked at");
                    break;
                }
            };
            let more = notices.len() == ROWS as usize;
            seen = notices.last().map_or(seen, |notice| notice.row);
            if !tell(&switchboard, notices).await {
                return;
            }
            if !more {
                break;
            }
        }
    }
}

/// `false`: the shards are gone.
async fn tell(switchboard: &Switchboard, notices: Vec<OfflineNotice>) -> bool {
    let mut notices = notices.into_iter().peekable();
    while let Some(OfflineNotice { user, id, .. }) = notices.next() {
        let mut ids: Vec<EnvelopeId> = envelope(&id).into_iter().collect();
        while let Some(next) = notices.next_if(|next| next.user == user) {
            ids.extend(envelope(&next.id));
        }
        let Ok(user) = BareJid::new(&user) else {
            continue;
        };
        // A node that becomes the home later reads everything then.
        if !switchboard.view.borrow().is_home(user.as_str()) || ids.is_empty() {
            continue;
        }
        let lane = switchboard.shard(user.as_str()).inner.clone();
        if lane.send(Input::Stored { user, ids }).await.is_err() {
            return false;
        }
    }
    true
}

fn envelope(id: &[u8]) -> Option<EnvelopeId> {
    std::str::from_utf8(id).ok()?.parse().ok()
}
