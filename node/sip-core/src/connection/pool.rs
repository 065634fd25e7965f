//! Which of a peer's open connections a request takes.

use crate::connection::Alias;
use crate::locate::Hop;

/// Names a link to its shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Who opened a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// We, to this hop.
    Ours(Hop),
    /// The peer.
    Theirs,
}

/// Which connections of the peer's our own requests take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Those with an alias for the hop (RFC 5923).
    Aliased,
    /// Any that this peer opened. COMPAT: peers behind one address, or that cannot be dialled, never
    /// say `alias` and expect requests on the connection that they opened.
    Any,
}

/// The open links of one peer. A handful: a scan is faster than a map.
#[derive(Debug, Default)]
pub struct Pool {
    links: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: LinkId,
    origin: Origin,
    alias: Option<Alias>,
}

impl Pool {
    /// Most links that one peer may have open to one node; more connections are refused.
    pub const MOST: usize = 64;

    /// Takes a link; `false` if there are [`Pool::MOST`].
    #[must_use]
    pub fn opened(&mut self, id: LinkId, origin: Origin) -> bool {
        if self.links.len() >= Self::MOST {
            return false;
        }
        let alias = None;
        self.links.push(Entry { id, origin, alias });
        true
    }

    /// Notes what a request that came over a link of the peer's says. The newest link with an alias
    /// has it: an older one may be half dead (RFC 5923 section 8.2).
    pub fn aliased(&mut self, id: LinkId, alias: Alias) {
        for entry in &mut self.links {
            if entry.id == id && entry.origin == Origin::Theirs {
                entry.alias = Some(alias.clone());
            } else if entry.alias.as_ref() == Some(&alias) {
                entry.alias = None;
            }
        }
    }

    /// Lets go of a link.
    pub fn closed(&mut self, id: LinkId) {
        self.links.retain(|entry| entry.id != id);
    }

    /// The link for a request to this hop: our own to it, or one of the peer's. The newest of equals.
    #[must_use]
    pub fn choose(&self, hop: &Hop, reuse: Reuse) -> Option<LinkId> {
        let newest = |wanted: &dyn Fn(&Entry) -> bool| {
            let found = self.links.iter().rev().find(|entry| wanted(entry));
            found.map(|entry| entry.id)
        };
        newest(&|entry| matches!(&entry.origin, Origin::Ours(to) if to == hop))
            .or_else(|| {
                newest(&|entry| {
                    entry.alias.as_ref().is_some_and(|alias| {
                        alias.port == hop.port && alias.host.eq_ignore_ascii_case(&hop.host)
                    })
                })
            })
            .or_else(|| match reuse {
                Reuse::Aliased => None,
                Reuse::Any => newest(&|entry| entry.origin == Origin::Theirs),
            })
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkId, Origin, Pool, Reuse};
    use crate::connection::Alias;
    use crate::locate::Hop;
    use crate::via::Transport;

    fn hop(host: &str) -> Hop {
        Hop {
            host: host.to_owned(),
            port: 5061,
            transport: Transport::Tls,
        }
    }

    fn alias(host: &str) -> Alias {
        Alias {
            host: host.to_owned(),
            port: 5061,
        }
    }

    #[test]
    fn our_own_link_is_taken_before_the_peers() {
        let mut pool = Pool::default();
        assert!(pool.opened(LinkId(1), Origin::Theirs));
        pool.aliased(LinkId(1), alias("a.example"));
        assert_eq!(
            pool.choose(&hop("A.example"), Reuse::Aliased),
            Some(LinkId(1))
        );
        assert!(pool.opened(LinkId(2), Origin::Ours(hop("a.example"))));
        assert_eq!(
            pool.choose(&hop("a.example"), Reuse::Aliased),
            Some(LinkId(2))
        );
        pool.closed(LinkId(2));
        assert_eq!(
            pool.choose(&hop("a.example"), Reuse::Aliased),
            Some(LinkId(1))
        );
        assert_eq!(pool.choose(&hop("b.example"), Reuse::Aliased), None);
    }

    #[test]
    fn a_peers_link_without_alias_is_taken_only_where_it_is_allowed() {
        let mut pool = Pool::default();
        assert!(pool.opened(LinkId(1), Origin::Ours(hop("other.example"))));
        assert!(pool.opened(LinkId(2), Origin::Theirs));
        assert_eq!(pool.choose(&hop("a.example"), Reuse::Aliased), None);
        assert_eq!(pool.choose(&hop("a.example"), Reuse::Any), Some(LinkId(2)));
    }

    #[test]
    fn the_newest_link_has_the_alias() {
        let mut pool = Pool::default();
        for id in [1, 2] {
            assert!(pool.opened(LinkId(id), Origin::Theirs));
            pool.aliased(LinkId(id), alias("a.example"));
        }
        assert_eq!(
            pool.choose(&hop("a.example"), Reuse::Aliased),
            Some(LinkId(2))
        );
        pool.aliased(LinkId(1), alias("a.example"));
        assert_eq!(
            pool.choose(&hop("a.example"), Reuse::Aliased),
            Some(LinkId(1))
        );
        pool.closed(LinkId(1));
        assert_eq!(pool.choose(&hop("a.example"), Reuse::Aliased), None);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_peer_has_so_many_links_and_no_more() {
        let mut pool = Pool::default();
        for id in 0..Pool::MOST as u64 {
            assert!(pool.opened(LinkId(id), Origin::Theirs));
        }
        assert!(!pool.opened(LinkId(99), Origin::Theirs));
        pool.closed(LinkId(0));
        assert!(pool.opened(LinkId(99), Origin::Theirs));
    }
}
