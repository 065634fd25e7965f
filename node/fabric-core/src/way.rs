//! By a view of the cluster: which way does something go, who has to be told of a change?

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use entente_cluster::{ClusterView, NodeId, Standing};
use entente_home_core::{EnvelopeId, SessionKey};
use entente_xmpp_core::stanza::Stanza;

/// Forwardings after which a stanza goes back to its holder: two nodes whose views differ must not
/// play ping-pong with it.
pub const MAX_HOPS: u32 = 4;

/// Where a user's home is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// On this node.
    Here,
    /// On another one.
    There(&'a NodeId),
    /// No node is a home now.
    Nowhere,
}

/// Which way a stanza goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    /// Into the recipient's shard on this node.
    Shard,
    /// To the recipient's home, as a stanza for a user.
    Home(&'a NodeId),
    /// Out, by a stream of this node.
    Out,
    /// To the node that has the stream, or for SIP to the sender's home, as a stanza for another
    /// domain.
    OutBy(&'a NodeId),
    /// To the sender's SIP gateway on this node.
    Gateway,
    /// Back: its holder tries again.
    Back,
}

/// What the domain of a recipient is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Its users are ours.
    Ours,
    /// Another organisation's, reached over XMPP.
    Xmpp,
    /// Another organisation's, reached over SIP.
    Sip,
}

/// The home of a user (a bare JID).
pub fn place<'a>(view: &'a ClusterView, user: &str) -> Place<'a> {
    match view.home_of(user) {
        Some(id) if *id == view.local => Place::Here,
        Some(id) => Place::There(id),
        None => Place::Nowhere,
    }
}

/// The home of a user with its generation: what a session registers with.
pub fn home(view: &ClusterView, user: &str) -> Option<(NodeId, u64)> {
    let id = view.home_of(user)?;
    view.member(id)
        .map(|member| (id.clone(), member.generation))
}

/// Which way a stanza goes that a home or another node sends on after so many `hops`.
pub fn onward<'a>(view: &'a ClusterView, stanza: &Stanza, domain: Domain, hops: u32) -> Way<'a> {
    let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else {
        return match (domain, stanza.to()) {
            (Domain::Ours, Some(to)) => to_user(view, to.bare_str(), hops),
            _ => Way::Back,
        };
    };
    match domain {
        Domain::Ours => to_user(view, to.bare_str(), hops),
        Domain::Sip => match place(view, from.bare_str()) {
            Place::Here => Way::Gateway,
            Place::There(node) if hops < MAX_HOPS => Way::OutBy(node),
            Place::There(_) | Place::Nowhere => Way::Back,
        },
        Domain::Xmpp => match view.outbound_for(from.bare_str(), to.domain()) {
            // Whose views differ must agree some time: this node has a stream as good as any.
            Some(node) if *node == view.local || hops >= MAX_HOPS => Way::Out,
            Some(node) => Way::OutBy(node),
            None => Way::Back,
        },
    }
}

fn to_user<'a>(view: &'a ClusterView, user: &str, hops: u32) -> Way<'a> {
    match place(view, user) {
        Place::Here => Way::Shard,
        Place::There(node) if hops < MAX_HOPS => Way::Home(node),
        Place::There(_) | Place::Nowhere => Way::Back,
    }
}

/// Equal as long as the same lives of the same nodes are the homes.
pub fn homes_of(view: &ClusterView) -> u64 {
    let mut hasher = DefaultHasher::new();
    for member in view.serving_homes() {
        (&member.id, member.generation).hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether nothing can be sent to the sessions at this node now.
pub fn is_down(view: &ClusterView, edge: &str) -> bool {
    let member = view.members.iter().find(|m| m.id.as_str() == edge);
    member.is_none_or(|member| member.standing == Standing::Down)
}

/// Nodes of `before` that are down or gone in `now`, or run with another generation: the sessions at
/// these lives of them are over.
pub fn lost_edges(before: &ClusterView, now: &ClusterView) -> Vec<(Arc<str>, u64)> {
    before
        .members
        .iter()
        .filter(|old| old.id != now.local && old.standing != Standing::Down)
        .filter(|old| {
            now.member(&old.id).is_none_or(|new| {
                new.standing == Standing::Down || new.generation != old.generation
            })
        })
        .map(|old| (Arc::from(old.id.as_str()), old.generation))
        .collect()
}

/// The nodes to ask for their sessions of this node's users, the local one among them: all when the
/// homes have changed (users that were released may be this node's again, and no edge saw a change),
/// else those that were down here and are up again (their sessions were ended, and if they are the
/// same process they may not have noticed).
pub fn to_ask_for_sessions<'a>(before: &ClusterView, now: &'a ClusterView) -> Vec<&'a NodeId> {
    let all = homes_of(before) != homes_of(now);
    let was_down = |id: &NodeId| {
        before
            .member(id)
            .is_none_or(|old| old.standing == Standing::Down)
    };
    now.members
        .iter()
        .filter(|member| member.standing != Standing::Down)
        .filter(|member| all || was_down(&member.id))
        .map(|member| &member.id)
        .collect()
}

/// Envelopes of one holder.
pub type HolderSeqs = (SessionKey, Vec<u64>);

/// Adds an envelope to those of its holder.
pub fn collect(list: &mut Vec<HolderSeqs>, envelope: EnvelopeId) {
    // Batches have few holders, and mostly the last one again.
    let found = list
        .iter_mut()
        .rev()
        .take(32)
        .find(|(holder, _)| holder.conn == envelope.holder.conn && *holder == envelope.holder);
    match found {
        Some((_, seqs)) => seqs.push(envelope.seq),
        None => list.push((envelope.holder, vec![envelope.seq])),
    }
}

/// Sorts holders by the node at which they are.
pub fn by_edge(holders: Vec<HolderSeqs>) -> Vec<(Arc<str>, Vec<HolderSeqs>)> {
    let mut edges: Vec<(Arc<str>, Vec<HolderSeqs>)> = Vec::new();
    for (holder, seqs) in holders {
        match edges.iter_mut().find(|(edge, _)| *edge == holder.edge) {
            Some((_, list)) => list.push((holder, seqs)),
            None => edges.push((Arc::clone(&holder.edge), vec![(holder, seqs)])),
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use entente_cluster::{Member, MemberState, Roles};

    use super::*;

    fn member(name: &str, standing: Standing, roles: Roles) -> Member {
        Member {
            id: NodeId::new(name).expect("a name"),
            generation: 1,
            roles,
            state: MemberState::Ready,
            standing,
            mesh: ([127, 0, 0, 1], 1).into(),
            public: Vec::new(),
            private: Vec::new(),
            host: String::new(),
            started: 1,
            announcement: String::new(),
        }
    }

    fn view(members: &[(&str, Standing)]) -> ClusterView {
        let roles = Roles::HOME | Roles::XMPP | Roles::CLIENT;
        let members = members
            .iter()
            .map(|(name, standing)| member(name, *standing, roles));
        ClusterView::new(
            1,
            NodeId::new("a").expect("a name"),
            members.collect(),
            false,
        )
    }

    fn stanza(from: &str, to: &str) -> Stanza {
        let text = format!("<message from='{from}' to='{to}'/>");
        Stanza::parse(Bytes::from(text)).expect("a stanza")
    }

    #[test]
    fn a_stanza_goes_on_by_its_domain_and_not_for_ever() {
        use Standing::Serving;
        let both = view(&[("a", Serving), ("b", Serving)]);
        let other = both.members[1].id.clone();
        let user_of = |node: &str| {
            (0..)
                .map(|n| format!("u{n}@x"))
                .find(|user| both.home_of(user).is_some_and(|id| id.as_str() == node))
                .expect("both are homes")
        };
        let (ours, theirs) = (user_of("a"), user_of("b"));
        let way =
            |from: &str, to: &str, domain, hops| onward(&both, &stanza(from, to), domain, hops);
        assert_eq!(way("r@r", &ours, Domain::Ours, 9), Way::Shard);
        assert_eq!(way("r@r", &theirs, Domain::Ours, 3), Way::Home(&other));
        assert_eq!(way("r@r", &theirs, Domain::Ours, 4), Way::Back);
        assert_eq!(way(&ours, "r@r", Domain::Xmpp, 0), Way::Out);
        assert_eq!(way(&theirs, "r@r", Domain::Xmpp, 3), Way::OutBy(&other));
        assert_eq!(way(&theirs, "r@r", Domain::Xmpp, 4), Way::Out);
        assert_eq!(way(&ours, "r@r", Domain::Sip, 0), Way::Gateway);
        assert_eq!(way(&theirs, "r@r", Domain::Sip, 4), Way::Back);
        let alone = view(&[("a", Standing::EdgeOnly)]);
        assert_eq!(
            onward(&alone, &stanza("r@r", &ours), Domain::Ours, 0),
            Way::Back
        );
    }

    #[test]
    fn an_edge_that_was_down_here_is_asked_for_its_sessions_when_it_is_back() {
        use Standing::{Down, EdgeOnly, Serving};
        let names = |list: Vec<&NodeId>| -> Vec<String> {
            list.iter().map(|id| id.as_str().to_owned()).collect()
        };
        let up = view(&[("a", Serving), ("b", Serving), ("c", EdgeOnly)]);
        let down = view(&[("a", Serving), ("b", Serving), ("c", Down)]);
        assert!(is_down(&down, "c") && is_down(&up, "d") && !is_down(&up, "c"));
        assert_eq!(lost_edges(&up, &down), [("c".into(), 1)]);
        assert!(lost_edges(&down, &up).is_empty());
        assert!(names(to_ask_for_sessions(&up, &down)).is_empty());
        assert_eq!(names(to_ask_for_sessions(&down, &up)), ["c"]);
        let fewer = view(&[("a", Serving), ("b", EdgeOnly), ("c", EdgeOnly)]);
        assert_eq!(names(to_ask_for_sessions(&up, &fewer)), ["a", "b", "c"]);
    }

    #[test]
    fn receipts_are_sorted_by_holder_and_edge() {
        let key = |edge: &str, conn| SessionKey::new(edge, 1, conn);
        let mut list = Vec::new();
        for (edge, conn, seq) in [("a", 1, 1), ("b", 1, 1), ("a", 1, 2), ("a", 2, 1)] {
            collect(&mut list, EnvelopeId::new(key(edge, conn), seq));
        }
        let sorted = by_edge(list);
        let a = vec![(key("a", 1), vec![1, 2]), (key("a", 2), vec![1])];
        assert_eq!(
            sorted,
            [("a".into(), a), ("b".into(), vec![(key("b", 1), vec![1])])]
        );
    }
}
