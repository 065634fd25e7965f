//! What a home loads for a user: roster, requests, blocklist.

use hiqlite::Param;

use crate::error::StoreError;
use crate::statement::{counter, integer, optional_text, text};
use crate::store::Store;

/// Subscription state of a roster item (RFC 6121, section 2.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subscription {
    /// Neither side sees the other's presence.
    #[default]
    None,
    /// The user sees the contact.
    To,
    /// The contact sees the user.
    From,
    /// Both.
    Both,
}

impl Subscription {
    fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::To => 1,
            Self::From => 2,
            Self::Both => 3,
        }
    }

    fn from_code(code: i64) -> Self {
        match code {
            1 => Self::To,
            2 => Self::From,
            3 => Self::Both,
            _ => Self::None,
        }
    }
}

/// One roster item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RosterEntry {
    /// Bare JID of the contact.
    pub jid: String,
    /// The user's name for the contact.
    pub name: Option<String>,
    /// The user's groups for the contact.
    pub groups: Vec<String>,
    /// Who sees whom.
    pub subscription: Subscription,
    /// The user has asked and has no answer yet.
    pub ask: bool,
    /// The user has approved a request that has not come yet.
    pub approved: bool,
}

impl RosterEntry {
    pub(crate) fn params(&self, user: &str) -> [Param; 7] {
        [
            text(user),
            text(&self.jid),
            optional_text(self.name.as_deref()),
            Param::Text(serde_json::to_string(&self.groups).expect("strings always serialize")),
            integer(self.subscription.code()),
            integer(self.ask),
            integer(self.approved),
        ]
    }
}

impl From<&mut hiqlite::Row<'_>> for RosterEntry {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        let groups: String = row.get("groups");
        Self {
            jid: row.get("jid"),
            name: row.get("name"),
            groups: serde_json::from_str(&groups).unwrap_or_default(),
            subscription: Subscription::from_code(row.get("subscription")),
            ask: row.get::<i64>("ask") != 0,
            approved: row.get::<i64>("approved") != 0,
        }
    }
}

/// A subscription request that waits for the user's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingIn {
    /// Bare JID of who asks.
    pub from: String,
    /// The presence stanza, canonical bytes.
    pub stanza: Vec<u8>,
}

impl From<&mut hiqlite::Row<'_>> for PendingIn {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            from: row.get("sender"),
            stanza: row.get("stanza"),
        }
    }
}

/// Everything that a home needs to serve a user, without the offline messages themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserRecord {
    /// Roster items, by JID.
    pub roster: Vec<RosterEntry>,
    /// Version of the roster (RFC 6121, section 2.6).
    pub roster_version: u64,
    /// Requests that wait for an answer, by JID.
    pub pending_in: Vec<PendingIn>,
    /// Blocked JIDs, sorted.
    pub blocked: Vec<String>,
    /// When the last session ended, milliseconds since the Unix epoch.
    pub last_logout_ms: Option<u64>,
    /// Status text of the last unavailable presence.
    pub last_status: Option<String>,
    /// How many offline messages wait.
    pub offline_count: u32,
}

struct Summary {
    roster_version: u64,
    last_logout: Option<i64>,
    last_status: Option<String>,
    offline: i64,
}

impl From<&mut hiqlite::Row<'_>> for Summary {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            roster_version: counter(row.get("roster_version")),
            last_logout: row.get("last_logout"),
            last_status: row.get("last_status"),
            offline: row.get("offline"),
        }
    }
}

struct Jid(String);

impl From<&mut hiqlite::Row<'_>> for Jid {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self(row.get("jid"))
    }
}

impl Store {
    /// The user's record, or `None` if there is no such account. Four local reads.
    ///
    /// A node that has just become a user's home calls [`Store::sync`] first, once for all users,
    /// so that it sees everything that the previous home was told is durable.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn load_user(&self, user: &str) -> Result<Option<UserRecord>, StoreError> {
        let summary = self
            .read::<Summary>(
                "SELECT roster_version, last_logout, last_status,
                (SELECT COUNT(*) FROM offline WHERE user = ?1) AS offline
                FROM accounts WHERE user = ?1",
                vec![text(user)],
            )
            .await?;
        let Some(summary) = summary.into_iter().next() else {
            return Ok(None);
        };
        let roster = self.read(
            "SELECT jid, name, groups, subscription, ask, approved FROM roster
            WHERE user = ?1 ORDER BY jid",
            vec![text(user)],
        );
        let pending_in = self.read(
            "SELECT sender, stanza FROM pending_in WHERE user = ?1 ORDER BY sender",
            vec![text(user)],
        );
        let blocked = self.read::<Jid>(
            "SELECT jid FROM blocked WHERE user = ?1 ORDER BY jid",
            vec![text(user)],
        );
        let (roster, pending_in, blocked) = tokio::try_join!(roster, pending_in, blocked)?;
        Ok(Some(UserRecord {
            roster,
            roster_version: summary.roster_version,
            pending_in,
            blocked: blocked.into_iter().map(|jid| jid.0).collect(),
            last_logout_ms: summary.last_logout.map(counter),
            last_status: summary.last_status,
            offline_count: u32::try_from(summary.offline).unwrap_or(u32::MAX),
        }))
    }
}
