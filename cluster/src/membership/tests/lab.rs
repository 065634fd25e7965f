//! The nodes of one test, and a store played by a task that renews leases.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::time::{MissedTickBehavior, interval};

use super::*;

/// The nodes of one test and the lease table that they share.
pub(super) struct Lab {
    name: &'static str,
    pub(super) dir: PathBuf,
    fast: bool,
    key: [u8; 32],
    pub(super) leases: Leases,
}

#[derive(Clone)]
pub(super) struct Leases(pub(super) Arc<Mutex<Table>>);

#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<NodeId, LeaseRow>,
    pub(super) holders: BTreeMap<NodeId, MembershipHandle>,
    /// Everybody may read, nobody can write: an election.
    pub(super) frozen: bool,
}

impl Lab {
    /// Times a fifth of the real ones, unless `fast` is false.
    pub(super) fn new(name: &'static str, fast: bool) -> Self {
        let dir = std::env::temp_dir().join(format!("entente-lab-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let leases = Leases(Arc::default());
        tokio::spawn(leases.clone().renew(if fast { 5 } else { 1 }));
        Self {
            name,
            dir,
            fast,
            key: [9; 32],
            leases,
        }
    }

    pub(super) fn config(&self, name: &str, seeds: &[&MembershipHandle]) -> MembershipConfig {
        let mut config = MembershipConfig::new(
            id(name),
            self.name,
            ([127, 0, 0, 1], 0).into(),
            self.key,
            self.dir.join(name),
        );
        config.seeds = seeds.iter().map(|s| s.gossip_addr.to_string()).collect();
        if self.fast {
            config.gossip_interval = Duration::from_millis(40);
            config.lease_ttl /= 5;
            config.fence.ack /= 5;
            config.fence.close /= 5;
            config.filter.silence /= 5;
            config.filter.stable /= 5;
            config.filter.settle /= 5;
            config.filter.flap_hold /= 5;
        }
        config
    }

    pub(super) fn start(&self, config: MembershipConfig) -> MembershipHandle {
        let handle = Membership::start(config).unwrap();
        handle.publish(facts(MemberState::Ready)).unwrap();
        self.leases.hold(&handle);
        handle
    }

    pub(super) fn join(&self, name: &str, seeds: &[&MembershipHandle]) -> MembershipHandle {
        self.start(self.config(name, seeds))
    }

    /// Three nodes that all serve in all views.
    pub(super) async fn three(&self) -> [MembershipHandle; 3] {
        let a = self.join("a", &[]);
        let b = self.join("b", &[&a]);
        let c = self.join("c", &[&a]);
        for handle in [&a, &b, &c] {
            until(handle, "all three serve", |v| {
                v.serving_homes().count() == 3
            })
            .await;
        }
        [a, b, c]
    }

    /// As kill -9: no word to anybody, no more renewals.
    pub(super) fn kill(&self, handle: MembershipHandle) {
        self.leases
            .0
            .lock()
            .unwrap()
            .holders
            .remove(&handle.node_id);
        drop(handle);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Leases {
    pub(super) fn hold(&self, handle: &MembershipHandle) {
        let mut table = self.0.lock().unwrap();
        table.holders.insert(handle.node_id.clone(), handle.clone());
    }

    /// Renews every holder's lease each second and lets all read four times a second, divided by
    /// the speed.
    async fn renew(self, speed: u32) {
        let mut tick = interval(Duration::from_millis(250) / speed);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_u64.. {
            tick.tick().await;
            let mut table = self.0.lock().unwrap();
            let table = &mut *table;
            for (index, handle) in table.holders.values().enumerate() {
                if table.frozen || round % 4 != index as u64 % 4 {
                    continue;
                }
                let row = LeaseRow {
                    node: handle.node_id.clone(),
                    generation: handle.generation,
                    counter: round + 1,
                };
                handle.local_fence.renewed(now());
                table.rows.insert(handle.node_id.clone(), row);
            }
            let rows: Vec<_> = table.rows.values().cloned().collect();
            for handle in table.holders.values() {
                handle.report_leases(rows.clone());
            }
        }
    }
}
