//! The end of a client's stream when it is ours to end.

use std::time::Duration;

use bytes::BytesMut;
use entente_home_core::EndReason;
use entente_xmpp_core::error::{StreamCondition, StreamError};
use entente_xmpp_core::stream::ClientInput;
use tokio::time::timeout;

use crate::net::Io;

/// How long the last bytes may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long the client gets to close its side after that.
const LINGER: Duration = Duration::from_secs(2);

/// The node hands over: all that was taken is acknowledged first, and the client says what it has.
pub(super) fn leave() -> ClientInput {
    ClientInput::Leave(StreamError::new(StreamCondition::SystemShutdown))
}

/// The node is cut off: what it would acknowledge now is not worth waiting for.
pub(super) fn shutdown() -> ClientInput {
    ClientInput::Close(Some(StreamError::new(StreamCondition::SystemShutdown)))
}

/// The home ended the session. A client that is only in another one's way is owed its receipts.
pub(super) fn dismissal(reason: EndReason) -> ClientInput {
    let close = |condition| ClientInput::Close(Some(StreamError::new(condition)));
    match reason {
        EndReason::Conflict => ClientInput::Leave(StreamError::new(StreamCondition::Conflict)),
        EndReason::AccountRemoved => close(StreamCondition::NotAuthorized),
        EndReason::Refused => close(StreamCondition::ResourceConstraint),
    }
}

/// Writes what is left and closes our side. With `we_ended` the client may still be sending: what it
/// sends is read away for a while, because a socket that is closed with unread bytes is reset, and a
/// reset can take our last words from the client.
pub(super) async fn last_words(mut io: Io, out: &mut BytesMut, we_ended: bool) {
    let words = async {
        let written = io.write_all(out).await.is_ok();
        if written {
            io.shutdown().await;
        }
        written
    };
    if timeout(LAST_WORDS, words).await == Ok(true) && we_ended {
        tokio::spawn(async move { timeout(LINGER, io.read_away()).await });
    }
}
