//! The services that are found by SRV records, and sets of them.

use std::fmt;
use std::ops::BitOr;

/// A service that a node can offer under a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Service {
    /// XMPP between servers with STARTTLS (RFC 6120 section 3.2).
    XmppServer,
    /// XMPP between servers with direct TLS (XEP-0368).
    XmppsServer,
    /// XMPP for clients with STARTTLS (RFC 6120 section 3.2).
    XmppClient,
    /// XMPP for clients with direct TLS (XEP-0368).
    XmppsClient,
    /// SIP federation over TLS as Microsoft's servers look it up.
    SipFederation,
    /// SIP over TLS (RFC 3263).
    Sips,
}

impl Service {
    /// All services, in the order of their records.
    pub const ALL: [Service; 6] = [
        Service::XmppServer,
        Service::XmppsServer,
        Service::XmppClient,
        Service::XmppsClient,
        Service::SipFederation,
        Service::Sips,
    ];

    /// The two labels in front of the domain (RFC 2782).
    #[must_use]
    pub fn labels(self) -> &'static str {
        match self {
            Service::XmppServer => "_xmpp-server._tcp",
            Service::XmppsServer => "_xmpps-server._tcp",
            Service::XmppClient => "_xmpp-client._tcp",
            Service::XmppsClient => "_xmpps-client._tcp",
            Service::SipFederation => "_sipfederationtls._tcp",
            Service::Sips => "_sips._tcp",
        }
    }

    /// Whether chat domains have this service too: other servers reach them, clients and SIP do not.
    #[must_use]
    pub fn serves_chat(self) -> bool {
        matches!(self, Service::XmppServer | Service::XmppsServer)
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.labels())
    }
}

/// A set of [`Service`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Services(u8);

impl Services {
    /// No service: the node's host name resolves, but no SRV record leads to it.
    pub const NONE: Services = Services(0);

    /// Whether `service` is in the set.
    #[must_use]
    pub fn contains(self, service: Service) -> bool {
        self.0 & service.bit() != 0
    }

    /// Adds `service`.
    pub fn insert(&mut self, service: Service) {
        self.0 |= service.bit();
    }

    /// The set with `service` added.
    #[must_use]
    pub fn with(mut self, service: Service) -> Self {
        self.insert(service);
        self
    }

    /// What both sets hold.
    #[must_use]
    pub fn intersection(self, other: Services) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The services of the set in the order of [`Service::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL
            .into_iter()
            .filter(move |service| self.contains(*service))
    }
}

impl BitOr for Services {
    type Output = Services;

    fn bitor(self, other: Services) -> Services {
        Services(self.0 | other.0)
    }
}

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        services.into_iter().fold(Services::NONE, Services::with)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The advertised port of each service of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServicePorts {
    /// [`Service::XmppServer`], usually 5269.
    pub xmpp_server: u16,
    /// [`Service::XmppsServer`], usually 5270.
    pub xmpps_server: u16,
    /// [`Service::XmppClient`], usually 5222.
    pub xmpp_client: u16,
    /// [`Service::XmppsClient`], usually 5223.
    pub xmpps_client: u16,
    /// [`Service::SipFederation`], usually 5061.
    pub sip_federation: u16,
    /// [`Service::Sips`], usually 5061.
    pub sips: u16,
}

impl ServicePorts {
    /// The port of `service`.
    #[must_use]
    pub fn of(&self, service: Service) -> u16 {
        match service {
            Service::XmppServer => self.xmpp_server,
            Service::XmppsServer => self.xmpps_server,
            Service::XmppClient => self.xmpp_client,
            Service::XmppsClient => self.xmpps_client,
            Service::SipFederation => self.sip_federation,
            Service::Sips => self.sips,
        }
    }
}

impl Default for ServicePorts {
    fn default() -> Self {
        Self {
            xmpp_server: 5269,
            xmpps_server: 5270,
            xmpp_client: 5222,
            xmpps_client: 5223,
            sip_federation: 5061,
            sips: 5061,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let all: Services = Service::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), 6);
        let one = Services::NONE.with(Service::Sips);
        assert!(one.contains(Service::Sips) && !one.contains(Service::XmppServer));
        assert_eq!(all.intersection(one), one);
        assert_eq!(one | all, all);
        assert!(Services::NONE.is_empty());
    }
}
