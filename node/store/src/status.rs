//! What the store says about itself.

use crate::statement::counter;
use crate::store::Store;

/// The state of the replication as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// Member id of this node.
    pub node_id: u64,
    /// The leader, if this node knows one.
    pub leader: Option<Member>,
    /// Raft's term; grows with every election.
    pub term: u64,
    /// The members that make up the quorum.
    pub voters: Vec<Member>,
    /// The members that only follow.
    pub learners: Vec<Member>,
    /// The last log entry that this node's copy holds.
    pub applied: u64,
    /// The last log entry that this node has.
    pub last_log: u64,
    /// A leader is known and, if it is this node, its quorum answers.
    pub healthy: bool,
}

impl StoreStatus {
    /// Whether this node is the leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.id == self.node_id)
    }
}

/// A member of the replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its node name; empty until it has completed its first start, and again once the node has
    /// joined anew as another member.
    pub name: String,
    /// `host:port` of its request port.
    pub api: String,
}

pub(crate) struct Name {
    pub(crate) id: u64,
    name: String,
}

impl From<&mut hiqlite::Row<'_>> for Name {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            id: counter(row.get("id")),
            name: row.get("name"),
        }
    }
}

impl Store {
    /// The state of the replication. Local; works without a majority.
    pub async fn status(&self) -> StoreStatus {
        let names = self
            .read_now::<Name>("SELECT id, name FROM members", Vec::new())
            .await
            .unwrap_or_default();
        let engine = &self.inner.engine;
        let metrics = engine
            .local()
            .metrics_db()
            .await
            .expect("the metrics of the local node are always there");
        let membership = &metrics.membership_config;
        let member = |id: u64| Member {
            id,
            name: names
                .iter()
                .find(|name| name.id == id)
                .map_or_else(String::new, |name| name.name.clone()),
            api: membership
                .membership()
                .get_node(&id)
                .map_or_else(String::new, |node| node.addr_api.clone()),
        };
        let voters: Vec<u64> = membership.voter_ids().collect();
        let learners = membership
            .nodes()
            .map(|(id, _)| *id)
            .filter(|id| !voters.contains(id))
            .map(member)
            .collect();
        let quorum_silence = self.inner.config.tuning.election_max * 2;
        let quorum_answers = metrics
            .millis_since_quorum_ack
            .is_none_or(|millis| u128::from(millis) < quorum_silence.as_millis());
        StoreStatus {
            node_id: self.node_id(),
            leader: metrics.current_leader.map(member),
            term: metrics.current_term,
            voters: voters.iter().copied().map(member).collect(),
            learners,
            applied: metrics.last_applied.map_or(0, |log| log.index),
            last_log: metrics.last_log_index.unwrap_or(0),
            healthy: metrics.running_state.is_ok()
                && metrics.current_leader.is_some()
                && quorum_answers,
        }
    }
}
