//! Requests of this node's gateways that left by other nodes: where each is, so that it can be cancelled,
//! and so that its gateway hears of it when that node dies.

use std::collections::HashMap;

use entente_cluster::{ClusterView, NodeId, Standing};

use super::port::SipCall;

/// Calls that are remembered. Beyond that a call is not followed: the gateway's own deadline ends it.
const MAX_CALLS: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// The node, and its generation when the call left.
    calls: HashMap<SipCall, (NodeId, u64)>,
}

impl Away {
    /// `call` was given to `node`.
    pub(super) fn left(&mut self, call: SipCall, node: NodeId, generation: u64) {
        if self.calls.len() < MAX_CALLS {
            self.calls.insert(call, (node, generation));
        }
    }

    /// Where the call is; `None` if it did not leave, or is over.
    pub(super) fn place(&self, call: &SipCall) -> Option<&NodeId> {
        self.calls.get(call).map(|(node, _)| node)
    }

    /// The call has its final outcome.
    pub(super) fn over(&mut self, call: &SipCall) {
        self.calls.remove(call);
    }

    /// Takes out the calls that are at nodes which are down or live another life.
    pub(super) fn lost(&mut self, view: &ClusterView) -> Vec<SipCall> {
        let is_lost = |node: &NodeId, generation: u64| {
            view.member(node).is_none_or(|member| {
                member.standing == Standing::Down || member.generation != generation
            })
        };
        self.calls
            .extract_if(|_, (node, generation)| is_lost(node, *generation))
            .map(|(call, _)| call)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use entente_cluster::{Member, MemberState, Roles};

    use super::*;

    fn view(members: &[(&str, u64, Standing)]) -> ClusterView {
        let members = members
            .iter()
            .map(|(name, generation, standing)| Member {
                id: NodeId::new(name).unwrap(),
                generation: *generation,
                roles: Roles::SIP,
                state: MemberState::Ready,
                standing: *standing,
                mesh: ([127, 0, 0, 1], 1).into(),
                public: Vec::new(),
                private: Vec::new(),
                host: String::new(),
                started: 0,
                announcement: String::new(),
            })
            .collect();
        ClusterView::new(1, NodeId::new("a").unwrap(), members, false)
    }

    fn call(id: u64) -> SipCall {
        SipCall {
            node: "a".into(),
            epoch: 1,
            shard: 0,
            id,
        }
    }

    #[test]
    fn calls_at_a_node_that_died_or_restarted_are_lost_once() {
        let mut away = Away::default();
        for (id, name) in [(1, "b"), (2, "c"), (3, "d"), (4, "b")] {
            away.left(call(id), NodeId::new(name).unwrap(), 7);
        }
        assert_eq!(away.place(&call(1)).map(NodeId::as_str), Some("b"));
        away.over(&call(4));
        assert_eq!(away.place(&call(4)), None);
        let after = view(&[
            ("b", 7, Standing::Down),
            ("c", 8, Standing::Serving),
            ("d", 7, Standing::EdgeOnly),
        ]);
        let mut lost = away.lost(&after);
        lost.sort_by_key(|call| call.id);
        assert_eq!(lost, [call(1), call(2)]);
        assert_eq!(away.lost(&after), []);
        assert_eq!(away.lost(&view(&[])), [call(3)]);
    }
}
