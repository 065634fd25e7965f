//! Addresses that differ between the wire and the cluster: an address map for local users
//! (email-for-federation) and domain aliases for remote ones.

use std::collections::HashMap;
use std::sync::Arc;

use entente_xmpp_core::jid::{BareJid, FullJid};

use super::{AddressError, AddressOfRecord, ContactUri, bare_jid_of_uri};

/// A configuration that would make two people one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// Two entries for one local user.
    #[error("{0} has two advertised addresses")]
    LocalTwice(BareJid),
    /// Two local users under one advertised address.
    #[error("{0} is advertised for two users")]
    AdvertisedTwice(BareJid),
    /// One user's advertised address is another user's own, who has none.
    #[error("{0} is advertised for one user and is another user's own address")]
    Shadowed(BareJid),
    /// A domain that is an alias of two others, or of itself, or that has aliases and is one.
    #[error("{0} is an alias more than once")]
    AliasTwice(String),
}

/// Which address each local user shows to SIP peers: exact pairs, both ways. Who is not in it shows
/// the JID.
#[derive(Debug, Clone, Default)]
pub struct AddressMap {
    advertised: HashMap<BareJid, BareJid>,
    local: HashMap<BareJid, BareJid>,
}

impl AddressMap {
    /// From pairs of a local user and the advertised address.
    ///
    /// # Errors
    /// If an address would name two users. An address that one user shows and that another user in
    /// the map has as JID is fine: the second one is reached under the advertised address only.
    pub fn new(pairs: impl IntoIterator<Item = (BareJid, BareJid)>) -> Result<Self, RuleFault> {
        let mut map = Self::default();
        for (local, advertised) in pairs {
            if map
                .local
                .insert(advertised.clone(), local.clone())
                .is_some()
            {
                return Err(RuleFault::AdvertisedTwice(advertised));
            }
            if map.advertised.insert(local.clone(), advertised).is_some() {
                return Err(RuleFault::LocalTwice(local));
            }
        }
        Ok(map)
    }

    /// Checks that no advertised address is the JID of a user without an entry.
    ///
    /// # Errors
    /// [`RuleFault::Shadowed`] names such an address: that user could not be reached.
    pub fn check(&self, is_account: impl Fn(&BareJid) -> bool) -> Result<(), RuleFault> {
        let shadowed = |(advertised, local): &(&BareJid, &BareJid)| {
            advertised != local
                && !self.advertised.contains_key(*advertised)
                && is_account(advertised)
        };
        match self.local.iter().find(shadowed) {
            Some((advertised, _)) => Err(RuleFault::Shadowed(advertised.clone())),
            None => Ok(()),
        }
    }

    /// The address that a local user shows.
    #[must_use]
    pub fn advertised<'a>(&'a self, local: &'a BareJid) -> &'a BareJid {
        self.advertised.get(local).unwrap_or(local)
    }

    /// The local user who shows an address.
    #[must_use]
    pub fn local<'a>(&'a self, advertised: &'a BareJid) -> &'a BareJid {
        self.local.get(advertised).unwrap_or(advertised)
    }
}

/// Domains in which a person at the peer has the same name: aim.com and aol.com.
///
/// On the wire the person always has the main domain. Which of the addresses a local user has in the
/// roster (and keeps, requirement F9) only the roster knows: [`DomainAliases::candidates`] lists them.
#[derive(Debug, Clone, Default)]
pub struct DomainAliases {
    main_of: HashMap<String, String>,
    aliases_of: HashMap<String, Vec<String>>,
}

impl DomainAliases {
    /// From pairs of an alias and the main domain, both in the normal form of JIDs.
    ///
    /// # Errors
    /// [`RuleFault::AliasTwice`] if a domain is an alias of two, or both alias and main.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, RuleFault> {
        let mut aliases = Self::default();
        for (alias, main) in pairs {
            let listed = aliases.aliases_of.entry(main.clone()).or_default();
            listed.push(alias.clone());
            if aliases.main_of.insert(alias.clone(), main).is_some() {
                return Err(RuleFault::AliasTwice(alias));
            }
        }
        match aliases
            .aliases_of
            .keys()
            .find(|main| aliases.main_of.contains_key(*main))
        {
            Some(both) => Err(RuleFault::AliasTwice(both.clone())),
            None => Ok(aliases),
        }
    }

    /// The address on the wire: the same name in the main domain.
    #[must_use]
    pub fn main(&self, remote: &BareJid) -> BareJid {
        match self.main_of.get(remote.domain()) {
            Some(main) => in_domain(remote, main),
            None => remote.clone(),
        }
    }

    /// All addresses of a person, the one in the main domain first.
    #[must_use]
    pub fn candidates(&self, remote: &BareJid) -> Vec<BareJid> {
        let main = self.main(remote);
        let aliases = self.aliases_of.get(main.domain());
        let others = aliases
            .into_iter()
            .flatten()
            .map(|alias| in_domain(&main, alias))
            .collect::<Vec<_>>();
        std::iter::once(main).chain(others).collect()
    }

    /// Whether two addresses are one person's.
    #[must_use]
    pub fn same_person(&self, a: &BareJid, b: &BareJid) -> bool {
        self.main(a) == self.main(b)
    }
}

fn in_domain(jid: &BareJid, domain: &str) -> BareJid {
    BareJid::from_parts(jid.node(), domain).expect("both parts come from checked addresses")
}

/// All rules for one peer. Every address in headers and documents goes through one of its functions.
#[derive(Debug, Clone, Default)]
pub struct AddressRules {
    /// What local users show; the same to all peers.
    pub map: Arc<AddressMap>,
    /// The peer's domains.
    pub aliases: DomainAliases,
}

impl AddressRules {
    /// A local user, for From, To and documents.
    ///
    /// # Errors
    /// As [`AddressOfRecord::of`].
    pub fn local_to_wire(&self, local: &BareJid) -> Result<AddressOfRecord, AddressError> {
        AddressOfRecord::of(self.map.advertised(local))
    }

    /// A local user's session, for Contact.
    ///
    /// # Errors
    /// As [`AddressOfRecord::of`].
    pub fn local_contact(&self, local: &FullJid) -> Result<ContactUri, AddressError> {
        let user = self.local_to_wire(&local.to_bare())?;
        Ok(ContactUri::join(user, local.resource()))
    }

    /// The peer's user, for the Request-URI and To.
    ///
    /// # Errors
    /// As [`AddressOfRecord::of`].
    pub fn remote_to_wire(&self, remote: &BareJid) -> Result<AddressOfRecord, AddressError> {
        AddressOfRecord::of(&self.aliases.main(remote))
    }

    /// The local user whom a peer's message names. The resource, if any, is in
    /// [`jid_of_uri`](super::jid_of_uri).
    ///
    /// # Errors
    /// As [`bare_jid_of_uri`].
    pub fn wire_to_local(&self, uri: &str) -> Result<BareJid, AddressError> {
        Ok(self.map.local(&bare_jid_of_uri(uri)?).clone())
    }

    /// The peer's user whom its message names, as it names them; see [`DomainAliases::candidates`].
    ///
    /// # Errors
    /// As [`bare_jid_of_uri`].
    pub fn wire_to_remote(&self, uri: &str) -> Result<BareJid, AddressError> {
        bare_jid_of_uri(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn rules() -> AddressRules {
        AddressRules {
            map: AddressMap::new([(jid("jsmith@imp.example.com"), jid("john.smith@example.com"))])
                .unwrap()
                .into(),
            aliases: DomainAliases::new([("aim.com".to_owned(), "aol.com".to_owned())]).unwrap(),
        }
    }

    #[test]
    fn local_users_show_their_advertised_address_and_are_found_by_it() {
        let rules = rules();
        let local = jid("jsmith@imp.example.com");
        let shown = rules.local_to_wire(&local).unwrap();
        assert_eq!(shown.to_string(), "sip:john.smith@example.com");
        assert_eq!(rules.wire_to_local(&shown.to_string()).unwrap(), local);
        let full = FullJid::new("jsmith@imp.example.com/desk").unwrap();
        assert_eq!(
            rules.local_contact(&full).unwrap().to_string(),
            "sip:john.smith@example.com;gr=desk"
        );
        let other = jid("ann@imp.example.com");
        assert_eq!(
            rules.local_to_wire(&other).unwrap().to_string(),
            "sip:ann@imp.example.com"
        );
        assert_eq!(
            rules.wire_to_local("sip:ann@imp.example.com;x=y").unwrap(),
            other
        );
    }

    #[test]
    fn an_address_never_names_two_users() {
        let (a, b, c) = (jid("a@x.example"), jid("b@x.example"), jid("c@x.example"));
        assert_eq!(
            AddressMap::new([(a.clone(), c.clone()), (b.clone(), c.clone())]).unwrap_err(),
            RuleFault::AdvertisedTwice(c.clone())
        );
        assert_eq!(
            AddressMap::new([(a.clone(), b.clone()), (a.clone(), c.clone())]).unwrap_err(),
            RuleFault::LocalTwice(a.clone())
        );
        let map = AddressMap::new([(a.clone(), b.clone())]).unwrap();
        assert_eq!(map.check(|_| false), Ok(()));
        assert_eq!(
            map.check(|account| *account == b),
            Err(RuleFault::Shadowed(b.clone()))
        );
        let swapped = AddressMap::new([(a.clone(), b.clone()), (b.clone(), a.clone())]).unwrap();
        assert_eq!(swapped.check(|_| true), Ok(()));
        assert_eq!(swapped.local(&a), &b);
    }

    #[test]
    fn a_person_in_an_alias_domain_is_the_same_person() {
        let rules = rules();
        let (aim, aol) = (jid("bob@aim.com"), jid("bob@aol.com"));
        assert_eq!(
            rules.remote_to_wire(&aim).unwrap().to_string(),
            "sip:bob@aol.com"
        );
        assert!(rules.aliases.same_person(&aim, &aol));
        assert!(!rules.aliases.same_person(&aim, &jid("eve@aol.com")));
        for address in [&aim, &aol] {
            assert_eq!(
                rules.aliases.candidates(address),
                [aol.clone(), aim.clone()]
            );
        }
        let elsewhere = jid("bob@sub.aim.com");
        assert_eq!(rules.aliases.candidates(&elsewhere), [elsewhere]);
    }

    #[test]
    fn aliases_form_no_chains() {
        let pair = |alias: &str, main: &str| (alias.to_owned(), main.to_owned());
        for pairs in [
            vec![pair("a", "b"), pair("a", "c")],
            vec![pair("a", "b"), pair("b", "c")],
            vec![pair("a", "a")],
        ] {
            assert!(matches!(
                DomainAliases::new(pairs),
                Err(RuleFault::AliasTwice(_))
            ));
        }
    }
}
