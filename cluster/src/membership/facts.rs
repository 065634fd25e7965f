//! What a node says about itself, and the one gossip value that carries it.
//!
//! Everything is one key with one small value, so peers see a node's facts change at once and
//! never half of them.

use std::net::{IpAddr, SocketAddr};

use crate::view::{MemberState, Roles};

/// The only gossip key in use.
pub(super) const KEY: &str = "facts";

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    /// The services that it runs.
    pub roles: Roles,
    /// How far it is. [`MembershipHandle::drain`] and [`MembershipHandle::leave`] override it.
    ///
    /// [`MembershipHandle::drain`]: super::MembershipHandle::drain
    /// [`MembershipHandle::leave`]: super::MembershipHandle::leave
    pub state: MemberState,
    /// Where its mesh can be reached.
    pub mesh: SocketAddr,
    /// Its addresses for the world; at most [`MemberFacts::MAX_ADDRESSES`].
    pub public: Vec<IpAddr>,
    /// Its addresses inside the organisation; at most [`MemberFacts::MAX_ADDRESSES`].
    pub private: Vec<IpAddr>,
    /// Its public DNS name without a trailing dot: at most 253 characters from letters, digits,
    /// `-`, `_` and `.`; may be empty for a node that is not in DNS.
    pub host: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// What its name server serves, in the publisher's own form; at most 64 visible ASCII
    /// characters, may be empty. Set by [`MembershipHandle::announce`].
    ///
    /// [`MembershipHandle::announce`]: super::MembershipHandle::announce
    pub announcement: String,
}

/// Why facts cannot be gossiped, or a gossiped value is not facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// There are more addresses than the bound.
    #[error("a node has at most {max} addresses of a kind", max = MemberFacts::MAX_ADDRESSES)]
    TooManyAddresses,
    /// The host name is too long or has other characters.
    #[error("the host name is not a DNS name")]
    BadHost,
    /// The announcement is too long or has other characters.
    #[error("the announcement is not 64 visible ASCII characters at most")]
    BadAnnouncement,
    /// The gossiped value is longer than the bound.
    #[error("the gossiped facts are too long")]
    TooLong,
    /// A field of the gossiped value is missing.
    #[error("the gossiped facts lack the field '{0}'")]
    Missing(&'static str),
    /// A field of the gossiped value cannot be understood.
    #[error("the gossiped facts have a bad field '{0}'")]
    Malformed(&'static str),
}

impl MemberFacts {
    /// Bound on the addresses of each kind.
    pub const MAX_ADDRESSES: usize = 16;
    /// Bound on the gossiped value, in bytes.
    const MAX_VALUE: usize = 2048;

    /// Checks the bounds.
    pub(super) fn check(&self) -> Result<(), FactsError> {
        if self.public.len() > Self::MAX_ADDRESSES || self.private.len() > Self::MAX_ADDRESSES {
            return Err(FactsError::TooManyAddresses);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.host.len() > 253 || !self.host.bytes().all(allowed) {
            return Err(FactsError::BadHost);
        }
        if self.announcement.len() > 64 || !self.announcement.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(FactsError::BadAnnouncement);
        }
        Ok(())
    }

    /// The gossiped value: fields `name=value` separated by single spaces. Readers skip fields
    /// that they do not know.
    pub(super) fn to_value(&self) -> String {
        format!(
            "roles={} state={} mesh={} started={} host={} public={} private={} dns={}",
            self.roles.bits(),
            state_name(self.state),
            self.mesh,
            self.started,
            self.host,
            address_list(&self.public),
            address_list(&self.private),
            self.announcement,
        )
    }

    /// Reads a gossiped value, with all bounds checked.
    pub(super) fn from_value(value: &str) -> Result<Self, FactsError> {
        if value.len() > Self::MAX_VALUE {
            return Err(FactsError::TooLong);
        }
        let field = |name: &'static str| {
            value
                .split(' ')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
                .ok_or(FactsError::Missing(name))
        };
        let facts = Self {
            roles: Roles::from_bits(number(field("roles")?, "roles")?),
            state: state_from_name(field("state")?),
            mesh: number(field("mesh")?, "mesh")?,
            public: addresses(field("public")?, "public")?,
            private: addresses(field("private")?, "private")?,
            host: field("host")?.to_owned(),
            started: number(field("started")?, "started")?,
            // Not there in the values of an older version.
            announcement: field("dns").unwrap_or_default().to_owned(),
        };
        facts.check()?;
        Ok(facts)
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, FactsError> {
    text.parse().map_err(|_| FactsError::Malformed(name))
}

fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Ready => "ready",
        MemberState::Draining => "draining",
        MemberState::Leaving => "leaving",
    }
}

/// A state that only a newer version knows is read as joining: reachable, but nothing is given
/// to it.
fn state_from_name(name: &str) -> MemberState {
    match name {
        "ready" => MemberState::Ready,
        "draining" => MemberState::Draining,
        "leaving" => MemberState::Leaving,
        _ => MemberState::Joining,
    }
}

fn address_list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

fn addresses(list: &str, name: &'static str) -> Result<Vec<IpAddr>, FactsError> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    list.split(',').map(|text| number(text, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> MemberFacts {
        MemberFacts {
            roles: Roles::HOME | Roles::XMPP,
            state: MemberState::Ready,
            mesh: ([10, 0, 0, 1], 7000).into(),
            public: vec![[192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap()],
            private: Vec::new(),
            host: "n1.example.com".to_owned(),
            started: 1_700_000_000,
            announcement: "1700000000-00c0ffee00c0ffee".to_owned(),
        }
    }

    #[test]
    fn facts_survive_gossip() {
        let mut facts = facts();
        for state in [
            MemberState::Joining,
            MemberState::Ready,
            MemberState::Draining,
            MemberState::Leaving,
        ] {
            facts.state = state;
            assert_eq!(
                MemberFacts::from_value(&facts.to_value()),
                Ok(facts.clone())
            );
        }
        facts.host = String::new();
        facts.mesh = "[2001:db8::2]:1".parse().unwrap();
        assert_eq!(MemberFacts::from_value(&facts.to_value()), Ok(facts));
    }

    #[test]
    fn the_largest_facts_fit() {
        let mut facts = facts();
        let longest: IpAddr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        facts.public = vec![longest; MemberFacts::MAX_ADDRESSES];
        facts.private = facts.public.clone();
        facts.host = "h".repeat(253);
        assert_eq!(
            MemberFacts::from_value(&facts.to_value()),
            Ok(facts.clone())
        );
        facts.public.push(longest);
        assert_eq!(facts.check(), Err(FactsError::TooManyAddresses));
        assert_eq!(
            MemberFacts::from_value(&facts.to_value()),
            Err(FactsError::TooManyAddresses)
        );
    }

    #[test]
    fn newer_fields_are_skipped_and_a_newer_state_gets_nothing() {
        let value = facts()
            .to_value()
            .replace("state=ready", "colour=red state=resting");
        let read = MemberFacts::from_value(&value).unwrap();
        assert_eq!(read.state, MemberState::Joining);
        assert_eq!(read.roles, facts().roles);
    }

    #[test]
    fn bad_values_are_refused_with_their_field() {
        let good = facts().to_value();
        let table = [
            (String::new(), FactsError::Missing("roles")),
            (
                good.replace("roles=5", "roles=x"),
                FactsError::Malformed("roles"),
            ),
            (
                good.replace("roles=5", "roles=256"),
                FactsError::Malformed("roles"),
            ),
            (
                good.replace("mesh=10.0.0.1:7000", "mesh=10.0.0.1"),
                FactsError::Malformed("mesh"),
            ),
            (good.replace("host=n1", "host=\n1"), FactsError::BadHost),
            (
                good.replace("public=192", "public=,192"),
                FactsError::Malformed("public"),
            ),
            (
                good.replace("private=", "privat="),
                FactsError::Missing("private"),
            ),
            (" ".repeat(3000), FactsError::TooLong),
        ];
        for (value, error) in table {
            assert_eq!(MemberFacts::from_value(&value), Err(error), "{value}");
        }
    }
}
