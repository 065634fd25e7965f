//! What a node knows about its cluster at one moment: an immutable snapshot.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::BitOr;
use std::sync::Arc;

use crate::home::{Placement, key_hash};
use crate::node_id::NodeId;

/// The services that a node runs, as a bit set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u8);

impl Roles {
    /// No service.
    pub const NONE: Self = Self(0);
    /// Home service: rosters, presence and delivery for its share of the users.
    pub const HOME: Self = Self(1);
    /// Client access (C2S, RFC 6120).
    pub const CLIENT: Self = Self(1 << 1);
    /// XMPP federation (S2S).
    pub const XMPP: Self = Self(1 << 2);
    /// SIP federation.
    pub const SIP: Self = Self(1 << 3);
    /// DNS publisher.
    pub const DNS: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::HOME, "home"),
        (Self::CLIENT, "client"),
        (Self::XMPP, "xmpp"),
        (Self::SIP, "sip"),
        (Self::DNS, "dns"),
    ];

    /// The set with these bits. Bits of roles that this version does not know are kept, so that a
    /// newer node's roles survive being shown by an older one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every role of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other` together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the roles of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Roles {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (role, name) in Self::NAMES {
            if self.contains(role) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

/// What a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberState {
    /// It has started, and has not yet checked that everything works.
    Joining,
    /// Its listeners are up and it has checked itself.
    Ready,
    /// It will leave: no new users, no new traffic, out of DNS; what it has goes on.
    Draining,
    /// It leaves now.
    Leaving,
}

/// What the others (or its own fence, for the local node) make of a node.
///
/// Ordered: a later value serves more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Dead, gone, or not yet known well enough.
    Down,
    /// Reachable, but not a home: it may accept from clients and peers and hands over to the homes.
    EdgeOnly,
    /// A home and an edge.
    Serving,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// Which life of the node this is: grows with every start.
    pub generation: u64,
    /// The services that it runs.
    pub roles: Roles,
    /// What it says about itself.
    pub state: MemberState,
    /// What the filter makes of it.
    pub standing: Standing,
    /// Where its mesh listens.
    pub mesh: SocketAddr,
    /// Its addresses for the world (A and AAAA records of the public view).
    pub public: Vec<IpAddr>,
    /// Its addresses inside the organisation (the private view).
    pub private: Vec<IpAddr>,
    /// Its public DNS name, without a trailing dot.
    pub host: String,
    /// When it started, in seconds since 1970 by its own clock: for people, not for decisions.
    pub started: u64,
    /// What its name server serves, in the publisher's own form.
    pub announcement: String,
}

impl Member {
    /// Whether it runs every service of `roles`.
    #[must_use]
    pub fn has(&self, roles: Roles) -> bool {
        self.roles.contains(roles)
    }

    /// Whether it is a home for users.
    #[must_use]
    pub fn serves_home(&self) -> bool {
        self.standing == Standing::Serving && self.has(Roles::HOME)
    }

    /// Whether new outbound federation traffic may go through it.
    #[must_use]
    pub fn federates(&self) -> bool {
        self.standing != Standing::Down && self.state == MemberState::Ready && self.has(Roles::XMPP)
    }

    /// Whether new outbound SIP requests may leave by it.
    #[must_use]
    pub fn federates_sip(&self) -> bool {
        self.standing != Standing::Down && self.state == MemberState::Ready && self.has(Roles::SIP)
    }

    /// Whether its records belong into DNS: it says that it is ready and it is not down. An edge
    /// without a home service stays, because it hands over to the homes.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.standing != Standing::Down && self.state == MemberState::Ready
    }
}

/// The cluster as one node sees it: an immutable snapshot.
///
/// Two nodes whose views name the same serving members compute the same homes.
#[derive(Clone)]
pub struct ClusterView {
    /// Grows with every change of the view on this node. Not comparable between nodes.
    pub version: u64,
    /// The node whose view this is.
    pub local: NodeId,
    /// Every known member, sorted by name, the local one included; those that are down stay listed
    /// until gossip forgets them.
    pub members: Arc<[Member]>,
    /// The local node has been without a renewed lease for so long (8 s) that it must not be
    /// spoken to: its listeners are closed and DNS answers SERVFAIL. Also true before its first
    /// renewal.
    pub isolated: bool,
    homes: Placement,
    outbound: Placement,
    sip: Placement,
}

impl ClusterView {
    /// Makes a view of these members, in any order; of several with one name the highest generation
    /// is kept.
    #[must_use]
    pub fn new(version: u64, local: NodeId, mut members: Vec<Member>, isolated: bool) -> Self {
        members.sort_by(|a, b| {
            a.id.cmp(&b.id)
                .then_with(|| b.generation.cmp(&a.generation))
        });
        members.dedup_by(|later, kept| later.id == kept.id);
        let homes = Placement::over(&members, Member::serves_home);
        let outbound = Placement::over(&members, Member::federates);
        let sip = Placement::over(&members, Member::federates_sip);
        Self {
            version,
            local,
            members: members.into(),
            isolated,
            homes,
            outbound,
            sip,
        }
    }

    /// A view in which nobody serves yet: what a node has before gossip has said anything.
    #[must_use]
    pub fn empty(local: NodeId) -> Self {
        Self::new(0, local, Vec::new(), true)
    }

    /// The member with this name.
    #[must_use]
    pub fn member(&self, id: &NodeId) -> Option<&Member> {
        let index = self.members.binary_search_by(|m| m.id.cmp(id)).ok()?;
        self.members.get(index)
    }

    /// The local node's own entry; none before it has published its facts.
    #[must_use]
    pub fn local_member(&self) -> Option<&Member> {
        self.member(&self.local)
    }

    /// The members that are homes, sorted by name.
    pub fn serving_homes(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.serves_home())
    }

    /// The home node of a user, by the user's bare JID in canonical form; none if nobody serves.
    ///
    /// On the way of every stanza: no allocation, tens of nanoseconds in a small cluster.
    #[must_use]
    pub fn home_of(&self, key: &str) -> Option<&NodeId> {
        self.pick(&self.homes, key)
    }

    /// The home node of the user whose bare JID has this [`key_hash`]: what SIP tags and mesh frames
    /// carry in place of the address.
    #[must_use]
    pub fn home_of_hash(&self, hash: u64) -> Option<&NodeId> {
        self.pick_hash(&self.homes, hash)
    }

    /// The node by which a SIP request for this user leaves: the user's home if it does SIP, otherwise
    /// one of the nodes that do, by rendezvous of the user; none if no node does.
    #[must_use]
    pub fn sip_for_user(&self, hash: u64) -> Option<&NodeId> {
        let home = self.homes.pick(hash);
        if let Some(member) = home.and_then(|index| self.members.get(index))
            && member.federates_sip()
        {
            return Some(&member.id);
        }
        self.pick_hash(&self.sip, hash)
    }

    /// The one node by which everything for a peer leaves (R2), by rendezvous of the peer's name; none
    /// if no node does SIP.
    #[must_use]
    pub fn sip_for_peer(&self, peer: &str) -> Option<&NodeId> {
        self.pick(&self.sip, peer)
    }

    /// Whether the local node is the home of this user.
    #[must_use]
    pub fn is_home(&self, key: &str) -> bool {
        self.home_of(key) == Some(&self.local)
    }

    /// The members through which outbound XMPP federation may go, sorted by name.
    pub fn federating(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.federates())
    }

    /// The node that sends this user's stanzas to another domain: the user's home if it federates,
    /// otherwise one of the federating nodes by rendezvous of the sender; none if no node
    /// federates.
    ///
    /// All that one user sends goes through one node, so order holds for every pair of addresses,
    /// and load spreads with the users. The remote domain does not enter the choice today: it is
    /// an argument for a later restriction of domains to nodes.
    #[must_use]
    pub fn outbound_for(&self, sender_bare: &str, _remote_domain: &str) -> Option<&NodeId> {
        let home = self.homes.pick(key_hash(sender_bare));
        if let Some(member) = home.and_then(|index| self.members.get(index))
            && member.federates()
        {
            return Some(&member.id);
        }
        self.pick(&self.outbound, sender_bare)
    }

    /// The members whose records belong into DNS, sorted by name.
    pub fn dns_published(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.is_published())
    }

    fn pick(&self, placement: &Placement, key: &str) -> Option<&NodeId> {
        self.pick_hash(placement, key_hash(key))
    }

    fn pick_hash(&self, placement: &Placement, hash: u64) -> Option<&NodeId> {
        let index = placement.pick(hash)?;
        self.members.get(index).map(|m| &m.id)
    }
}

/// Views are equal when they say the same; the version is not part of that.
impl PartialEq for ClusterView {
    fn eq(&self, other: &Self) -> bool {
        self.local == other.local
            && self.isolated == other.isolated
            && self.members == other.members
    }
}

impl Eq for ClusterView {}

impl fmt::Debug for ClusterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterView")
            .field("version", &self.version)
            .field("local", &self.local)
            .field("isolated", &self.isolated)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, roles: Roles, state: MemberState, standing: Standing) -> Member {
        Member {
            id: NodeId::new(id).unwrap(),
            generation: 1,
            roles,
            state,
            standing,
            mesh: SocketAddr::from(([127, 0, 0, 1], 1)),
            public: Vec::new(),
            private: Vec::new(),
            host: format!("{id}.example"),
            started: 0,
            announcement: String::new(),
        }
    }

    fn view(members: Vec<Member>) -> ClusterView {
        ClusterView::new(1, NodeId::new("a").unwrap(), members, false)
    }

    fn names<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<&'a str> {
        members.map(|m| m.id.as_str()).collect()
    }

    const ALL: Roles = Roles::from_bits(0b1_1111);

    #[test]
    fn members_are_sorted_and_the_highest_generation_of_a_name_wins() {
        let old = member("b", ALL, MemberState::Ready, Standing::Serving);
        let mut new = old.clone();
        new.generation = 2;
        let a = member("a", ALL, MemberState::Ready, Standing::Serving);
        let view = view(vec![old, new, a]);
        let got: Vec<_> = view
            .members
            .iter()
            .map(|m| (m.id.as_str(), m.generation))
            .collect();
        assert_eq!(got, [("a", 1), ("b", 2)]);
        assert_eq!(
            view.member(&NodeId::new("b").unwrap()).unwrap().generation,
            2
        );
        assert!(view.member(&NodeId::new("c").unwrap()).is_none());
    }

    #[test]
    fn who_does_what_follows_standing_state_and_roles() {
        let view = view(vec![
            member("a", ALL, MemberState::Ready, Standing::Serving),
            member("b", ALL, MemberState::Ready, Standing::EdgeOnly),
            member("c", ALL, MemberState::Ready, Standing::Down),
            member("d", ALL, MemberState::Draining, Standing::EdgeOnly),
            member(
                "e",
                ALL.without(Roles::XMPP),
                MemberState::Ready,
                Standing::Serving,
            ),
            member(
                "f",
                ALL.without(Roles::HOME),
                MemberState::Ready,
                Standing::Serving,
            ),
            member("g", ALL, MemberState::Joining, Standing::EdgeOnly),
        ]);
        assert_eq!(names(view.serving_homes()), ["a", "e"]);
        assert_eq!(names(view.federating()), ["a", "b", "f"]);
        assert_eq!(names(view.dns_published()), ["a", "b", "e", "f"]);
    }

    #[test]
    fn outbound_is_the_home_if_it_federates_and_else_a_federating_node() {
        let both = view(vec![
            member("a", ALL, MemberState::Ready, Standing::Serving),
            member(
                "b",
                ALL.without(Roles::XMPP),
                MemberState::Ready,
                Standing::Serving,
            ),
        ]);
        let (mut at_home, mut elsewhere) = (0, 0);
        for user in 0..200 {
            let jid = format!("u{user}@example.com");
            let home = both.home_of(&jid).unwrap();
            let out = both.outbound_for(&jid, "remote.example").unwrap();
            assert_eq!(out.as_str(), "a");
            if home == out {
                at_home += 1
            } else {
                elsewhere += 1
            }
        }
        assert!(at_home > 50 && elsewhere > 50, "{at_home} {elsewhere}");
    }

    #[test]
    fn an_empty_view_has_no_home_and_no_way_out() {
        let view = ClusterView::empty(NodeId::new("a").unwrap());
        assert!(view.isolated);
        assert_eq!(view.home_of("u@example.com"), None);
        assert_eq!(view.outbound_for("u@example.com", "r.example"), None);
        assert!(!view.is_home("u@example.com"));
    }

    #[test]
    fn roles_read_as_names() {
        assert_eq!((Roles::HOME | Roles::DNS).to_string(), "home,dns");
        assert_eq!(format!("{:?}", Roles::NONE), "Roles()");
        assert!(!Roles::HOME.contains(Roles::HOME | Roles::XMPP));
    }
}
