//! The writes of the home service, and the statements that carry them out.

use crate::roster::RosterEntry;
use crate::statement::{Statement, blob, integer, optional_text, text};

/// One durable change of one user's data.
///
/// Every write is idempotent. Writes for an account that does not exist (any more) are refused one
/// by one with [`WriteOutcome::NoSuchAccount`]; the others of the same call go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Adds or replaces a roster item (RFC 6121, section 2).
    PutRosterEntry {
        /// Bare JID of the roster's owner.
        user: String,
        /// Roster version after the change; a stored higher one is kept.
        version: u64,
        /// The item.
        entry: RosterEntry,
    },
    /// Removes a roster item.
    RemoveRosterEntry {
        /// Bare JID of the roster's owner.
        user: String,
        /// Roster version after the change.
        version: u64,
        /// Bare JID of the contact.
        jid: String,
    },
    /// Keeps a subscription request until the user answers (RFC 6121, section 3.1.3).
    PutPendingIn {
        /// Bare JID of the user who is asked.
        user: String,
        /// Bare JID of who asks. One request is kept for each.
        from: String,
        /// The presence stanza, canonical bytes.
        stanza: Vec<u8>,
    },
    /// Forgets a subscription request.
    RemovePendingIn {
        /// Bare JID of the user who was asked.
        user: String,
        /// Bare JID of who asked.
        from: String,
    },
    /// Keeps a message for a user without a session. A second one with the same id changes nothing
    /// and counts as done.
    PutOffline {
        /// Bare JID of the recipient.
        user: String,
        /// Names the message among those of the user.
        id: Vec<u8>,
        /// The message stanza, canonical bytes.
        stanza: Vec<u8>,
        /// When it was accepted, milliseconds since the Unix epoch.
        stored_at_ms: u64,
    },
    /// Deletes messages that were delivered.
    RemoveOffline {
        /// Bare JID of the recipient.
        user: String,
        /// Ids given to [`Write::PutOffline`].
        ids: Vec<Vec<u8>>,
    },
    /// Adds a JID to the blocklist (XEP-0191).
    Block {
        /// Bare JID of the user who blocks.
        user: String,
        /// The blocked JID.
        jid: String,
    },
    /// Takes a JID off the blocklist.
    Unblock {
        /// Bare JID of the user who blocked.
        user: String,
        /// The JID.
        jid: String,
    },
    /// Empties the blocklist.
    UnblockAll {
        /// Bare JID of the user.
        user: String,
    },
    /// Remembers when the last session ended (XEP-0012, XEP-0318).
    SetLastLogout {
        /// Bare JID of the user.
        user: String,
        /// Milliseconds since the Unix epoch.
        at_ms: u64,
        /// Status text of the last unavailable presence.
        status: Option<String>,
    },
}

/// What became of one write of a call that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is durable.
    Done,
    /// The user's offline store is full; nothing was kept.
    QuotaExceeded,
    /// There is no such account; nothing was kept.
    NoSuchAccount,
}

const RAISE_ROSTER_VERSION: &str =
    "UPDATE accounts SET roster_version = MAX(roster_version, ?2) WHERE user = ?1";

const PUT_ROSTER: &str = "INSERT INTO roster
    (user, jid, name, groups, subscription, ask, approved)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM accounts WHERE user = ?1)
    ON CONFLICT (user, jid) DO UPDATE SET name = excluded.name, groups = excluded.groups,
    subscription = excluded.subscription, ask = excluded.ask, approved = excluded.approved";

const REMOVE_ROSTER: &str = "DELETE FROM roster WHERE user = ?1 AND jid = ?2";

const PUT_PENDING: &str = "INSERT INTO pending_in (user, sender, stanza)
    SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM accounts WHERE user = ?1)
    ON CONFLICT (user, sender) DO UPDATE SET stanza = excluded.stanza";

const REMOVE_PENDING: &str = "DELETE FROM pending_in WHERE user = ?1 AND sender = ?2";

/// Changes one row if the message was stored now or before, none if it was refused.
const PUT_OFFLINE: &str = "INSERT INTO offline (user, id, stanza, stored_at)
    SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM accounts WHERE user = ?1)
    AND ((SELECT COUNT(*) FROM offline WHERE user = ?1) < ?5
        OR EXISTS (SELECT 1 FROM offline WHERE user = ?1 AND id = ?2))
    ON CONFLICT (user, id) DO UPDATE SET stored_at = stored_at";

const REMOVE_OFFLINE: &str = "DELETE FROM offline WHERE user = ?1 AND id = ?2";

const BLOCK: &str = "INSERT INTO blocked (user, jid)
    SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM accounts WHERE user = ?1)
    ON CONFLICT (user, jid) DO UPDATE SET jid = jid";

const UNBLOCK: &str = "DELETE FROM blocked WHERE user = ?1 AND jid = ?2";

const UNBLOCK_ALL: &str = "DELETE FROM blocked WHERE user = ?1";

const SET_LOGOUT: &str = "UPDATE accounts SET last_logout = ?2, last_status = ?3 WHERE user = ?1";

impl Write {
    /// Whose data it changes.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Self::PutRosterEntry { user, .. }
            | Self::RemoveRosterEntry { user, .. }
            | Self::PutPendingIn { user, .. }
            | Self::RemovePendingIn { user, .. }
            | Self::PutOffline { user, .. }
            | Self::RemoveOffline { user, .. }
            | Self::Block { user, .. }
            | Self::Unblock { user, .. }
            | Self::UnblockAll { user }
            | Self::SetLastLogout { user, .. } => user,
        }
    }

    /// The statements, the one whose row count tells the outcome last.
    pub(crate) fn statements(&self, offline_quota: u32) -> Vec<Statement> {
        match self {
            Self::PutRosterEntry {
                user,
                version,
                entry,
            } => vec![
                Statement::new(RAISE_ROSTER_VERSION, [text(user), integer(*version)]),
                Statement::new(PUT_ROSTER, entry.params(user)),
            ],
            Self::RemoveRosterEntry { user, version, jid } => vec![
                Statement::new(RAISE_ROSTER_VERSION, [text(user), integer(*version)]),
                Statement::new(REMOVE_ROSTER, [text(user), text(jid)]),
            ],
            Self::PutPendingIn { user, from, stanza } => {
                vec![Statement::new(
                    PUT_PENDING,
                    [text(user), text(from), blob(stanza)],
                )]
            }
            Self::RemovePendingIn { user, from } => {
                vec![Statement::new(REMOVE_PENDING, [text(user), text(from)])]
            }
            Self::PutOffline {
                user,
                id,
                stanza,
                stored_at_ms,
            } => vec![Statement::new(
                PUT_OFFLINE,
                [
                    text(user),
                    blob(id),
                    blob(stanza),
                    integer(*stored_at_ms),
                    integer(offline_quota),
                ],
            )],
            Self::RemoveOffline { user, ids } => ids
                .iter()
                .map(|id| Statement::new(REMOVE_OFFLINE, [text(user), blob(id)]))
                .collect(),
            Self::Block { user, jid } => vec![Statement::new(BLOCK, [text(user), text(jid)])],
            Self::Unblock { user, jid } => vec![Statement::new(UNBLOCK, [text(user), text(jid)])],
            Self::UnblockAll { user } => vec![Statement::new(UNBLOCK_ALL, [text(user)])],
            Self::SetLastLogout {
                user,
                at_ms,
                status,
            } => vec![Statement::new(
                SET_LOGOUT,
                [
                    text(user),
                    integer(*at_ms),
                    optional_text(status.as_deref()),
                ],
            )],
        }
    }

    /// Whether no changed row means that the write was refused. Removing what is not there is fine.
    pub(crate) fn needs_account(&self) -> bool {
        !matches!(
            self,
            Self::RemoveRosterEntry { .. }
                | Self::RemovePendingIn { .. }
                | Self::RemoveOffline { .. }
                | Self::Unblock { .. }
                | Self::UnblockAll { .. }
        )
    }
}
