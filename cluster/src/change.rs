//! What became different between two views.

use crate::node_id::NodeId;
use crate::view::{ClusterView, Member, Standing};

/// One difference between two views of the same cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The member was not in the old view.
    Joined(Member),
    /// The member is no longer in the new view: gossip has forgotten it.
    Left(NodeId),
    /// The member is a new life of the same node: whatever the old one held in memory is gone.
    GenerationReplaced {
        /// Which node.
        node: NodeId,
        /// The generation in the old view.
        old: u64,
        /// The generation in the new view.
        new: u64,
    },
    /// The member's standing changed.
    StandingChanged {
        /// Which node.
        node: NodeId,
        /// What it was.
        old: Standing,
        /// What it is.
        new: Standing,
    },
    /// The member's mesh address, host name, or public or private addresses changed.
    AddressChanged(Member),
    /// The member's announced state or its roles changed.
    FactsChanged(Member),
    /// The local node became isolated (`true`) or came back (`false`).
    Isolation(bool),
}

/// The differences from `old` to `new`, by node name; of one node first its generation, then its
/// standing, addresses and facts. Isolation comes last.
#[must_use]
pub fn changes(old: &ClusterView, new: &ClusterView) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut before = old.members.iter().peekable();
    let mut after = new.members.iter().peekable();
    // Both sides are sorted by name: merge them.
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => break,
            (Some(gone), None) => {
                changes.push(Change::Left(gone.id.clone()));
                before.next();
            }
            (None, Some(come)) => {
                changes.push(Change::Joined(Member::clone(come)));
                after.next();
            }
            (Some(a), Some(b)) => match a.id.cmp(&b.id) {
                std::cmp::Ordering::Less => {
                    changes.push(Change::Left(a.id.clone()));
                    before.next();
                }
                std::cmp::Ordering::Greater => {
                    changes.push(Change::Joined(Member::clone(b)));
                    after.next();
                }
                std::cmp::Ordering::Equal => {
                    member_changes(a, b, &mut changes);
                    before.next();
                    after.next();
                }
            },
        }
    }
    if old.isolated != new.isolated {
        changes.push(Change::Isolation(new.isolated));
    }
    changes
}

fn member_changes(old: &Member, new: &Member, changes: &mut Vec<Change>) {
    if old.generation != new.generation {
        changes.push(Change::GenerationReplaced {
            node: new.id.clone(),
            old: old.generation,
            new: new.generation,
        });
    }
    if old.standing != new.standing {
        changes.push(Change::StandingChanged {
            node: new.id.clone(),
            old: old.standing,
            new: new.standing,
        });
    }
    if old.mesh != new.mesh
        || old.host != new.host
        || old.public != new.public
        || old.private != new.private
    {
        changes.push(Change::AddressChanged(new.clone()));
    }
    if old.state != new.state || old.roles != new.roles {
        changes.push(Change::FactsChanged(new.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{MemberState, Roles};

    fn member(id: &str) -> Member {
        Member {
            id: NodeId::new(id).unwrap(),
            generation: 1,
            roles: Roles::HOME,
            state: MemberState::Ready,
            standing: Standing::Serving,
            mesh: ([127, 0, 0, 1], 1).into(),
            public: Vec::new(),
            private: Vec::new(),
            host: String::new(),
            started: 0,
            announcement: String::new(),
        }
    }

    fn view(members: &[Member]) -> ClusterView {
        ClusterView::new(1, NodeId::new("b").unwrap(), members.to_vec(), false)
    }

    #[test]
    fn equal_views_have_no_changes() {
        let a = view(&[member("a"), member("b")]);
        assert_eq!(changes(&a, &a), []);
    }

    #[test]
    fn members_come_and_go() {
        let old = view(&[member("a"), member("c"), member("e")]);
        let new = view(&[member("b"), member("c"), member("d")]);
        let left = |id| Change::Left(NodeId::new(id).unwrap());
        assert_eq!(
            changes(&old, &new),
            [
                left("a"),
                Change::Joined(member("b")),
                Change::Joined(member("d")),
                left("e"),
            ]
        );
        assert_eq!(
            changes(&view(&[]), &view(&[member("a")])),
            [Change::Joined(member("a"))]
        );
        assert_eq!(changes(&view(&[member("a")]), &view(&[])), [left("a")]);
    }

    #[test]
    fn each_kind_of_change_is_named() {
        let old = member("a");
        let mut new = old.clone();
        new.generation = 2;
        new.standing = Standing::Down;
        new.mesh = ([127, 0, 0, 1], 2).into();
        new.state = MemberState::Joining;
        let node = old.id.clone();
        assert_eq!(
            changes(&view(&[old]), &view(std::slice::from_ref(&new))),
            [
                Change::GenerationReplaced {
                    node: node.clone(),
                    old: 1,
                    new: 2
                },
                Change::StandingChanged {
                    node,
                    old: Standing::Serving,
                    new: Standing::Down
                },
                Change::AddressChanged(new.clone()),
                Change::FactsChanged(new),
            ]
        );
    }

    #[test]
    fn isolation_is_a_change() {
        let joined = view(&[member("a")]);
        let cut = ClusterView::new(2, joined.local.clone(), joined.members.to_vec(), true);
        assert_eq!(changes(&joined, &cut), [Change::Isolation(true)]);
        assert_eq!(changes(&cut, &joined), [Change::Isolation(false)]);
    }
}
