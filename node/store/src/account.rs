//! Accounts and their SCRAM credentials.

use hiqlite::Param;

use crate::error::StoreError;
use crate::statement::{
    Statement, blob, counter, integer, optional_blob, optional_integer, optional_text, text,
};
use crate::store::Store;

/// What a server keeps of a password for one hash (RFC 5802, section 3). Neither key lets anybody
/// log in by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Random, public.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: Vec<u8>,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys(hidden)")
    }
}

/// The credentials of an account, one for each mechanism it can use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScramSet {
    /// For SCRAM-SHA-1.
    pub sha1: Option<ScramKeys>,
    /// For SCRAM-SHA-256.
    pub sha256: Option<ScramKeys>,
}

impl ScramSet {
    fn params(&self) -> impl Iterator<Item = Param> {
        [&self.sha1, &self.sha256].into_iter().flat_map(|keys| {
            let keys = keys.as_ref();
            [
                optional_blob(keys.map(|keys| keys.salt.as_slice())),
                optional_integer(keys.map(|keys| keys.iterations)),
                optional_blob(keys.map(|keys| keys.stored_key.as_slice())),
                optional_blob(keys.map(|keys| keys.server_key.as_slice())),
            ]
        })
    }
}

impl From<&mut hiqlite::Row<'_>> for ScramSet {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        let mut keys = |salt, iterations, stored, server| {
            Some(ScramKeys {
                salt: row.get::<Option<Vec<u8>>>(salt)?,
                iterations: u32::try_from(row.get::<Option<i64>>(iterations)?).ok()?,
                stored_key: row.get::<Option<Vec<u8>>>(stored)?,
                server_key: row.get::<Option<Vec<u8>>>(server)?,
            })
        };
        Self {
            sha1: keys("sha1_salt", "sha1_iterations", "sha1_stored", "sha1_server"),
            sha256: keys(
                "sha256_salt",
                "sha256_iterations",
                "sha256_stored",
                "sha256_server",
            ),
        }
    }
}

/// A line of the list of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Bare JID.
    pub user: String,
    /// When it was added, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

impl From<&mut hiqlite::Row<'_>> for Account {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            user: row.get("user"),
            created_at_ms: counter(row.get("created_at")),
        }
    }
}

/// The domain of a bare JID.
fn domain(user: &str) -> &str {
    user.split_once('@').map_or(user, |(_, domain)| domain)
}

/// No changed row: the account existed. The inserted row says so too if the outcome of the
/// transaction itself got lost, because `created_at` and the salts are the caller's own.
const ADD: &str = "INSERT INTO accounts (user, domain, created_at,
    sha1_salt, sha1_iterations, sha1_stored, sha1_server,
    sha256_salt, sha256_iterations, sha256_stored, sha256_server)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (user) DO NOTHING";

const SET_CREDENTIALS: &str = "UPDATE accounts SET
    sha1_salt = ?2, sha1_iterations = ?3, sha1_stored = ?4, sha1_server = ?5,
    sha256_salt = ?6, sha256_iterations = ?7, sha256_stored = ?8, sha256_server = ?9
    WHERE user = ?1";

/// Everything of a user; the account last, because its row count is the outcome.
const REMOVE: [&str; 6] = [
    "DELETE FROM roster WHERE user = ?1",
    "DELETE FROM pending_in WHERE user = ?1",
    "DELETE FROM blocked WHERE user = ?1",
    "DELETE FROM offline WHERE user = ?1",
    "DELETE FROM gateway WHERE user = ?1",
    "DELETE FROM accounts WHERE user = ?1",
];

impl Store {
    /// Adds an account.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one; otherwise as every write.
    pub async fn add_account(
        &self,
        user: &str,
        credentials: &ScramSet,
        created_at_ms: u64,
    ) -> Result<(), StoreError> {
        let params = [text(user), text(domain(user)), integer(created_at_ms)]
            .into_iter()
            .chain(credentials.params());
        match self.commit(vec![Statement::new(ADD, params)]).await? {
            Some(0) => Err(StoreError::Exists),
            Some(_) => Ok(()),
            None if self.credentials(user).await?.as_ref() == Some(credentials) => Ok(()),
            None => Err(StoreError::Exists),
        }
    }

    /// Replaces the credentials of an account.
    ///
    /// # Errors
    /// [`StoreError::NoSuchAccount`]; otherwise as every write.
    pub async fn set_credentials(
        &self,
        user: &str,
        credentials: &ScramSet,
    ) -> Result<(), StoreError> {
        let params = [text(user)].into_iter().chain(credentials.params());
        match self
            .commit(vec![Statement::new(SET_CREDENTIALS, params)])
            .await?
        {
            Some(0) => Err(StoreError::NoSuchAccount),
            Some(_) => Ok(()),
            None if self.account_exists(user).await? => Ok(()),
            None => Err(StoreError::NoSuchAccount),
        }
    }

    /// Removes an account with its roster, requests, blocklist and offline messages.
    ///
    /// # Errors
    /// [`StoreError::NoSuchAccount`]; otherwise as every write.
    pub async fn remove_account(&self, user: &str) -> Result<(), StoreError> {
        let statements = REMOVE
            .into_iter()
            .map(|sql| Statement::new(sql, [text(user)]))
            .collect();
        match self.commit(statements).await? {
            Some(0) => Err(StoreError::NoSuchAccount),
            _ => Ok(()),
        }
    }

    /// At most `limit` accounts in the order of their JIDs, of one domain or of all, behind `after`.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn list_accounts(
        &self,
        domain: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.read(
            "SELECT user, created_at FROM accounts
            WHERE user > ?1 AND (?2 IS NULL OR domain = ?2) ORDER BY user LIMIT ?3",
            vec![
                text(after.unwrap_or("")),
                optional_text(domain),
                integer(limit),
            ],
        )
        .await
    }

    /// The credentials of an account, or `None` if there is no such account. A local read.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn credentials(&self, user: &str) -> Result<Option<ScramSet>, StoreError> {
        let found = self
            .read(
                "SELECT sha1_salt, sha1_iterations, sha1_stored, sha1_server,
                sha256_salt, sha256_iterations, sha256_stored, sha256_server
                FROM accounts WHERE user = ?1",
                vec![text(user)],
            )
            .await?;
        Ok(found.into_iter().next())
    }

    /// Whether there is such an account. A local read.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn account_exists(&self, user: &str) -> Result<bool, StoreError> {
        let found: Vec<Account> = self
            .read(
                "SELECT user, created_at FROM accounts WHERE user = ?1",
                vec![text(user)],
            )
            .await?;
        Ok(!found.is_empty())
    }

    /// Which of these offline messages are in the store. For batches whose outcome got lost.
    pub(crate) async fn has_offline(&self, user: &str, id: &[u8]) -> Result<bool, StoreError> {
        let found: Vec<crate::offline::OfflineMessage> = self
            .read(
                "SELECT seq, id, stanza, stored_at FROM offline WHERE user = ?1 AND id = ?2",
                vec![text(user), blob(id)],
            )
            .await?;
        Ok(!found.is_empty())
    }
}
