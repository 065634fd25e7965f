//! What is to be published: the operator's plan, and the nodes it is applied to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::name::DnsName;
use crate::network::Network;
use crate::service::{Service, ServicePorts, Services};

/// A live node as the cluster's view shows it. A node that drains is left out of the list, or kept
/// with [`Services::NONE`] so that its host name still resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedNode {
    /// The node's short name, unique in the cluster; subsets are written with it.
    pub name: String,
    /// The host name that SRV records point to.
    pub host: DnsName,
    /// Addresses in the public view. Empty: not reachable from outside, so not published there.
    pub public: Vec<IpAddr>,
    /// Addresses in the private view. Empty: the public ones.
    pub private: Vec<IpAddr>,
    /// What the node offers, after its self-check.
    pub services: Services,
    /// The advertised ports.
    pub ports: ServicePorts,
    /// When this run of the node began (unix time in milliseconds, as its own gossip says, so that
    /// all nodes hold the same value). `single` keeps the oldest node; 0 if it isn't known.
    pub started: u64,
}

/// Which nodes a service is published with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PublishMode {
    /// Every node that offers it.
    #[default]
    All,
    /// Those of the named nodes that offer it.
    Subset(BTreeSet<String>),
    /// One node that stays the target until it leaves: for peers that try only one record.
    Single,
}

/// A mode for some services and domains; the most specific rule wins: service and domain, then
/// domain, then service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeRule {
    /// The service that it is for; `None`: any.
    pub service: Option<Service>,
    /// The domain that it is for (exactly, not its subdomains); `None`: any.
    pub domain: Option<DnsName>,
    /// The mode.
    pub mode: PublishMode,
}

/// The modes of all services and domains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishModes {
    /// Where no rule fits.
    pub default: PublishMode,
    /// The exceptions. Of two equally specific ones the first counts.
    pub rules: Vec<ModeRule>,
}

impl PublishModes {
    /// The mode of `service` under `domain`.
    #[must_use]
    pub fn of(&self, service: Service, domain: &DnsName) -> &PublishMode {
        let fits = |rule: &&ModeRule| {
            rule.service.is_none_or(|s| s == service)
                && rule.domain.as_ref().is_none_or(|d| d == domain)
        };
        // `min_by_key` keeps the first of equals.
        self.rules
            .iter()
            .filter(fits)
            .min_by_key(|rule| (rule.domain.is_none(), rule.service.is_none()))
            .map_or(&self.default, |rule| &rule.mode)
    }
}

/// A name server of our zones with the addresses that the parent has as glue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its host name.
    pub host: DnsName,
    /// Addresses in the public view; both lists empty: those of the node with this host name.
    pub public: Vec<IpAddr>,
    /// Addresses in the private view; empty: the public ones.
    pub private: Vec<IpAddr>,
}

/// The fields of the SOA records that are not computed (RFC 1035 section 3.3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoaPlan {
    /// The primary name server; `None`: the first name server.
    pub mname: Option<DnsName>,
    /// The mailbox of the person responsible, with a dot for the at sign.
    pub rname: DnsName,
    /// After this time a secondary asks for the serial.
    pub refresh: Duration,
    /// After this time it asks again if it got no answer.
    pub retry: Duration,
    /// After this time without an answer it stops serving the zone.
    pub expire: Duration,
}

/// Everything about the published records but the live nodes. The same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPlan {
    /// The apexes that are delegated to us: `_tcp.example.com` or `example.com`, and the zone of the
    /// nodes' host names. A record goes into the deepest zone that holds its name, and is not
    /// published if none does.
    pub zones: Vec<DnsName>,
    /// Domains of users: all services.
    pub local_domains: Vec<DnsName>,
    /// Domains of chat services: those services that other servers use.
    pub chat_domains: Vec<DnsName>,
    /// By local domain: the target of its SIP records in place of the nodes' host names. Its addresses
    /// are those of the nodes that the mode selects, if it lies in a zone of ours. Microsoft's servers
    /// want a target inside the domain itself, and one only.
    pub sip_hosts: BTreeMap<DnsName, DnsName>,
    /// Which nodes are published.
    pub modes: PublishModes,
    /// Time to live of SRV and of nodes' addresses: how long a resolver may hold a dead node.
    /// Default 30 s.
    pub ttl: Duration,
    /// How long a resolver may hold that there is no such record; at most `ttl` makes sense.
    pub negative_ttl: Duration,
    /// Time to live of NS records and of the name servers' addresses; they are static. Default 1 h.
    pub name_server_ttl: Duration,
    /// The name servers of all zones. Empty: every published node.
    pub name_servers: Vec<NameServer>,
    /// SOA fields.
    pub soa: SoaPlan,
    /// Askers from these networks see the private view.
    pub private_networks: Vec<Network>,
}

impl PublishPlan {
    /// A plan with the usual times, all nodes in every service, and every node a name server.
    #[must_use]
    pub fn new(zones: Vec<DnsName>, local_domains: Vec<DnsName>, rname: DnsName) -> Self {
        Self {
            zones,
            local_domains,
            chat_domains: Vec::new(),
            sip_hosts: BTreeMap::new(),
            modes: PublishModes::default(),
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(30),
            name_server_ttl: Duration::from_secs(3600),
            name_servers: Vec::new(),
            soa: SoaPlan {
                mname: None,
                rname,
                refresh: Duration::from_secs(300),
                retry: Duration::from_secs(60),
                expire: Duration::from_secs(86_400),
            },
            private_networks: Vec::new(),
        }
    }

    /// The deepest of our zones that holds `name`.
    #[must_use]
    pub fn zone_of(&self, name: &DnsName) -> Option<&DnsName> {
        self.zones
            .iter()
            .filter(|zone| name.is_within(zone))
            .max_by_key(|zone| zone.depth())
    }

    /// The host name that stands for all nodes as the target of `service` under `domain`.
    #[must_use]
    pub fn host_of(&self, service: Service, domain: &DnsName) -> Option<&DnsName> {
        self.sip_hosts
            .get(domain)
            .filter(|_| matches!(service, Service::SipFederation | Service::Sips))
    }

    /// What will not work as written, for `entente config check`.
    #[must_use]
    pub fn problems(&self) -> Vec<PlanProblem> {
        let mut problems = Vec::new();
        if self.zones.is_empty() {
            problems.push(PlanProblem::NoZone);
        }
        for (domain, service) in self.published_services() {
            match domain.child(service.labels()) {
                Ok(owner) if self.zone_of(&owner).is_none() => {
                    problems.push(PlanProblem::OutsideZones { owner });
                }
                Ok(_) => {}
                Err(_) => problems.push(PlanProblem::NameTooLong { domain, service }),
            }
        }
        for server in &self.name_servers {
            let needs_glue = self.zone_of(&server.host).is_some();
            if needs_glue && server.public.is_empty() && server.private.is_empty() {
                problems.push(PlanProblem::NoGlue {
                    host: server.host.clone(),
                });
            }
        }
        problems
    }

    /// Every pair of domain and service that may get records, each once.
    pub(crate) fn published_services(&self) -> BTreeSet<(DnsName, Service)> {
        let local = self
            .local_domains
            .iter()
            .flat_map(|domain| Service::ALL.map(|service| (domain.clone(), service)));
        let chat = self.chat_domains.iter().flat_map(|domain| {
            let services = Service::ALL.into_iter().filter(|s| s.serves_chat());
            services.map(|service| (domain.clone(), service))
        });
        local.chain(chat).collect()
    }
}

/// A part of a plan that can't take effect. None of them stops the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// Nothing is delegated to us.
    #[error("no zone is configured: every query will be refused")]
    NoZone,
    /// The name lies in no zone of ours.
    #[error("{owner} lies in none of the configured zones and is not published")]
    OutsideZones {
        /// The owner name of the SRV records.
        owner: DnsName,
    },
    /// The service's labels make the name longer than DNS allows.
    #[error("{service}.{domain} is too long for DNS and is not published")]
    NameTooLong {
        /// The domain.
        domain: DnsName,
        /// The service.
        service: Service,
    },
    /// A name server inside our zones whose address is known only while its node lives.
    #[error("the name server {host} lies in our zones but has no addresses in the plan")]
    NoGlue {
        /// The name server.
        host: DnsName,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> DnsName {
        text.parse().unwrap()
    }

    #[test]
    fn the_most_specific_mode_wins() {
        let rule = |service, domain: Option<&str>, mode| ModeRule {
            service,
            domain: domain.map(name),
            mode,
        };
        let subset = PublishMode::Subset(BTreeSet::from(["a".to_owned()]));
        let modes = PublishModes {
            default: PublishMode::All,
            rules: vec![
                rule(Some(Service::Sips), None, PublishMode::Single),
                rule(None, Some("a.example"), subset.clone()),
                rule(Some(Service::Sips), Some("a.example"), PublishMode::All),
            ],
        };
        assert_eq!(
            modes.of(Service::Sips, &name("a.example")),
            &PublishMode::All
        );
        assert_eq!(modes.of(Service::XmppServer, &name("a.example")), &subset);
        assert_eq!(
            modes.of(Service::Sips, &name("b.example")),
            &PublishMode::Single
        );
        assert_eq!(
            modes.of(Service::XmppServer, &name("sub.a.example")),
            &PublishMode::All
        );
    }

    #[test]
    fn problems_name_what_will_not_be_published() {
        let mut plan = PublishPlan::new(
            vec![name("_tcp.a.example")],
            vec![name("a.example"), name("b.example")],
            name("hostmaster.a.example"),
        );
        plan.name_servers.push(NameServer {
            host: name("ns._tcp.a.example"),
            public: vec![],
            private: vec![],
        });
        let problems = plan.problems();
        assert_eq!(problems.len(), 7, "{problems:?}");
        assert!(problems.contains(&PlanProblem::OutsideZones {
            owner: name("_xmpp-server._tcp.b.example")
        }));
        assert!(problems.contains(&PlanProblem::NoGlue {
            host: name("ns._tcp.a.example")
        }));
        plan.zones.clear();
        assert!(plan.problems().contains(&PlanProblem::NoZone));
    }
}
