//! Who votes: one, three or five members, everybody else follows as a learner.
//!
//! How many follows from how many members there are, not from how many live: a dead voter keeps
//! its vote until a live learner can take it. Two voters would be worse than one (either death
//! stops writes), so two members have one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::StoreError;
use crate::statement::{Statement, integer};
use crate::status::{Name, StoreStatus};
use crate::store::Store;

/// A membership change waits for its commit; the leader itself gives up after 40 s.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

/// What [`Store::ensure_voters`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoterChange {
    /// This node does not lead; only the leader changes voters.
    NotLeader,
    /// The voters are as they should be.
    Settled,
    /// One step was taken; ask again for the next.
    Changed,
}

/// One step towards the wanted voters.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Make these the voters; a superset of those there are.
    Promote(BTreeSet<u64>),
    /// Make this voter a learner.
    Demote(u64),
    /// Forget this learner.
    Remove(u64),
}

/// Since when voters have been missing.
#[derive(Debug)]
pub(crate) struct VoterWatch {
    grace: Duration,
    missing: Mutex<BTreeMap<u64, Instant>>,
}

impl VoterWatch {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            missing: Mutex::new(BTreeMap::new()),
        }
    }

    /// The voters that have been missing for longer than the grace.
    fn lost(&self, voters: &BTreeSet<u64>, live: &BTreeSet<u64>, now: Instant) -> BTreeSet<u64> {
        let mut missing = self.missing.lock().expect("no panic while the map is held");
        missing.retain(|id, _| voters.contains(id) && !live.contains(id));
        for id in voters.difference(live) {
            missing.entry(*id).or_insert(now);
        }
        missing
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= self.grace)
            .map(|(id, _)| *id)
            .collect()
    }
}

/// How many voters so many members have.
fn wanted(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// The next step, if one is due. `lost` are voters whose grace is over, `gone` are members whose
/// node has joined again as another one.
fn plan(
    leader: u64,
    voters: &BTreeSet<u64>,
    learners: &BTreeSet<u64>,
    live: &BTreeSet<u64>,
    lost: &BTreeSet<u64>,
    gone: &BTreeSet<u64>,
) -> Option<Step> {
    if let Some(id) = learners.intersection(gone).next() {
        return Some(Step::Remove(*id));
    }
    let members = voters.union(learners).filter(|id| !gone.contains(id));
    let wanted = wanted(members.count());
    let mut candidates = learners.iter().filter(|id| live.contains(id)).copied();
    if voters.len() > wanted {
        // Those that do not answer first, the leader never.
        let spare = voters
            .iter()
            .filter(|id| **id != leader)
            .max_by_key(|id| (!live.contains(id), **id))?;
        return Some(Step::Demote(*spare));
    }
    if voters.len() < wanted {
        // From one to three and from three to five in one change, or not at all; from two or four
        // (a change that was cut short) by one.
        let next = if voters.len() % 2 == 1 { 2 } else { 1 };
        let fresh: BTreeSet<u64> = candidates.take(next).collect();
        return (fresh.len() == next).then(|| Step::Promote(voters | &fresh));
    }
    // First the new one, then the lost one goes as one too many: the quorum never gets smaller.
    let replaced = lost.iter().any(|id| *id != leader);
    match (replaced, candidates.next()) {
        (true, Some(fresh)) => Some(Step::Promote(voters | &BTreeSet::from([fresh]))),
        _ => None,
    }
}

impl Store {
    /// Brings the voters one step closer to one, three or five live ones. `live` names the nodes
    /// that the membership holds to be up. Call it every few seconds on every node; only the
    /// leader's call does anything.
    ///
    /// # Errors
    /// [`StoreError::Membership`] or [`StoreError::Management`]: call again later.
    pub async fn ensure_voters(&self, live: &[&str]) -> Result<VoterChange, StoreError> {
        let status = self.status().await;
        if !status.is_leader() || self.inner.engine.cluster().is_none() {
            return Ok(VoterChange::NotLeader);
        }
        let ids = |members: &[crate::status::Member]| -> BTreeSet<u64> {
            members.iter().map(|member| member.id).collect()
        };
        let live: BTreeSet<u64> = status
            .voters
            .iter()
            .chain(&status.learners)
            .filter(|member| live.contains(&member.name.as_str()))
            .map(|member| member.id)
            .chain([status.node_id])
            .collect();
        let (voters, learners) = (ids(&status.voters), ids(&status.learners));
        let lost = self.inner.voters.lost(&voters, &live, Instant::now());
        let gone = self
            .read_now::<Name>("SELECT id, name FROM members WHERE name = ''", Vec::new())
            .await?;
        let gone = gone.into_iter().map(|member| member.id).collect();
        let Some(step) = plan(status.node_id, &voters, &learners, &live, &lost, &gone) else {
            return Ok(VoterChange::Settled);
        };
        tracing::info!(?step, "store voters change");
        match step {
            Step::Promote(voters) => self.manage(&status, Request::Voters(voters)).await?,
            Step::Demote(id) => {
                self.manage(
                    &status,
                    Request::Leave {
                        id,
                        stay_as_learner: true,
                    },
                )
                .await?;
            }
            Step::Remove(id) => {
                self.manage(
                    &status,
                    Request::Leave {
                        id,
                        stay_as_learner: false,
                    },
                )
                .await?;
                self.forget(id).await?;
            }
        }
        Ok(VoterChange::Changed)
    }

    /// Takes a node out of the cluster for good. It must be stopped, and its data directory must be
    /// emptied before it may join again.
    ///
    /// # Errors
    /// [`StoreError::Config`] for an unknown name;
    /// [`StoreError::Membership`] or [`StoreError::Management`]: call again later.
    pub async fn remove_member(&self, node_name: &str) -> Result<(), StoreError> {
        let status = self.status().await;
        let id = status
            .voters
            .iter()
            .chain(&status.learners)
            .find(|member| member.name == node_name)
            .map(|member| member.id)
            .ok_or(StoreError::Config("no member has that name"))?;
        self.manage(
            &status,
            Request::Leave {
                id,
                stay_as_learner: false,
            },
        )
        .await?;
        self.forget(id).await?;
        self.remove_lease(node_name).await
    }

    async fn forget(&self, id: u64) -> Result<(), StoreError> {
        self.commit(vec![
            Statement::new("DELETE FROM members WHERE id = ?1", [integer(id)]),
            Statement::new("DELETE FROM progress WHERE node = ?1", [integer(id)]),
        ])
        .await
        .map(drop)
    }

    async fn manage(&self, status: &StoreStatus, request: Request) -> Result<(), StoreError> {
        let engine = &self.inner.engine;
        let (Some(cluster), Some(leader)) = (engine.cluster(), &status.leader) else {
            return Err(StoreError::Config("there is no leader to ask"));
        };
        let failed = |error: reqwest::Error| StoreError::Management(Box::new(error));
        let client = crate::join::management_client(CHANGE_TIMEOUT)?;
        let url = format!("https://{}/cluster/membership/sqlite", leader.api);
        let (request, body) = match request {
            Request::Voters(voters) => (client.post(url), serde_json::json!(voters)),
            Request::Leave {
                id,
                stay_as_learner,
            } => (
                client.delete(url),
                serde_json::json!({"node_id": id, "stay_as_learner": stay_as_learner}),
            ),
        };
        let response = request
            .header("X-API-SECRET", &cluster.secrets.api)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(failed)?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status().as_u16();
        let reason = response.text().await.unwrap_or_default();
        tracing::warn!(status, reason, "store membership change refused");
        Err(StoreError::Membership { status })
    }
}

enum Request {
    Voters(BTreeSet<u64>),
    Leave { id: u64, stay_as_learner: bool },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    #[test]
    fn voters_are_one_three_or_five() {
        let counts: Vec<usize> = (1..=8).map(wanted).collect();
        assert_eq!(counts, [1, 1, 3, 3, 5, 5, 5, 5]);
    }

    #[test]
    fn one_becomes_three_in_one_step_and_never_two() {
        let step = plan(
            1,
            &set(&[1]),
            &set(&[2]),
            &set(&[1, 2]),
            &set(&[]),
            &set(&[]),
        );
        assert_eq!(step, None);
        let step = plan(
            1,
            &set(&[1]),
            &set(&[2, 3]),
            &set(&[1, 2]),
            &set(&[]),
            &set(&[]),
        );
        assert_eq!(step, None, "the third does not live");
        let step = plan(
            1,
            &set(&[1]),
            &set(&[2, 3]),
            &set(&[1, 2, 3]),
            &set(&[]),
            &set(&[]),
        );
        assert_eq!(step, Some(Step::Promote(set(&[1, 2, 3]))));
    }

    #[test]
    fn a_change_that_was_cut_short_goes_on() {
        let step = plan(
            1,
            &set(&[1, 2]),
            &set(&[3]),
            &set(&[1, 2, 3]),
            &set(&[]),
            &set(&[]),
        );
        assert_eq!(step, Some(Step::Promote(set(&[1, 2, 3]))));
    }

    #[test]
    fn a_lost_voter_is_replaced_first_and_demoted_then() {
        let (voters, learners, live) = (set(&[1, 2, 3]), set(&[4]), set(&[1, 2, 4]));
        assert_eq!(
            plan(1, &voters, &learners, &live, &set(&[]), &set(&[])),
            None
        );
        let step = plan(1, &voters, &learners, &live, &set(&[3]), &set(&[]));
        assert_eq!(step, Some(Step::Promote(set(&[1, 2, 3, 4]))));
        let step = plan(
            1,
            &set(&[1, 2, 3, 4]),
            &set(&[]),
            &live,
            &set(&[3]),
            &set(&[]),
        );
        assert_eq!(step, Some(Step::Demote(3)));
    }

    #[test]
    fn a_member_that_came_back_as_another_makes_room() {
        let (learners, live, gone) = (set(&[4]), set(&[2, 3, 4]), set(&[1]));
        let three = set(&[1, 2, 3]);
        let step = plan(2, &three, &learners, &live, &gone, &gone);
        assert_eq!(step, Some(Step::Promote(set(&[1, 2, 3, 4]))));
        let step = plan(2, &set(&[1, 2, 3, 4]), &set(&[]), &live, &gone, &gone);
        assert_eq!(step, Some(Step::Demote(1)));
        let step = plan(2, &set(&[2, 3, 4]), &set(&[1]), &live, &set(&[]), &gone);
        assert_eq!(step, Some(Step::Remove(1)));
    }

    #[test]
    fn death_alone_takes_no_vote_away() {
        let step = plan(
            1,
            &set(&[1, 2, 3]),
            &set(&[]),
            &set(&[1, 2]),
            &set(&[3]),
            &set(&[]),
        );
        assert_eq!(step, None);
    }

    #[test]
    fn after_a_removal_two_members_have_one_voter() {
        let step = plan(
            2,
            &set(&[1, 2]),
            &set(&[]),
            &set(&[1, 2]),
            &set(&[]),
            &set(&[]),
        );
        assert_eq!(step, Some(Step::Demote(1)));
    }

    #[test]
    fn the_grace_starts_again_when_a_voter_comes_back() {
        let watch = VoterWatch::new(Duration::from_secs(30));
        let (voters, all) = (set(&[1, 2]), set(&[1, 2]));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(watch.lost(&voters, &set(&[1]), at(0)).is_empty());
        assert!(watch.lost(&voters, &all, at(29)).is_empty());
        assert!(watch.lost(&voters, &set(&[1]), at(31)).is_empty());
        assert_eq!(watch.lost(&voters, &set(&[1]), at(61)), set(&[2]));
    }
}
