//! The records of our zones as a pure function of the plan and the live nodes.
//!
//! Nothing here is ever empty because of our own doubt: where no node is left for a name, the last
//! known targets stay, unless the view shows those very nodes alive without the service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use crate::content::ContentHash;
use crate::content::ContentHasher;
use crate::name::DnsName;
use crate::network::Network;
use crate::plan::{NameServer, PublishMode, PublishPlan, PublishedNode};
use crate::service::Service;

/// Priority of every SRV record: equal, so that askers use them all (RFC 2782).
const SRV_PRIORITY: u16 = 10;
/// Weight of every SRV record: equal, and above 0, which RFC 2782 reserves for 'hardly ever'.
const SRV_WEIGHT: u16 = 10;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Everybody: public addresses.
    Public,
    /// Askers from the plan's private networks: private addresses.
    Private,
}

/// One resource record of class IN. The owner is the key it is stored under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// How long a resolver may keep it, in seconds.
    pub ttl: u32,
    /// Type and content.
    pub data: RecordData,
}

/// The record types that we publish.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordData {
    /// Start of authority; the serial is added when it is served.
    Soa(Soa),
    /// Name server.
    Ns(DnsName),
    /// Service location (RFC 2782).
    Srv {
        /// Lower is tried first; all ours are equal.
        priority: u16,
        /// Share among equal priorities; all ours are equal.
        weight: u16,
        /// TCP port.
        port: u16,
        /// Host name of the node.
        target: DnsName,
    },
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
}

/// A SOA record without its serial. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Soa {
    /// Primary name server.
    pub mname: DnsName,
    /// Mailbox, with a dot for the at sign.
    pub rname: DnsName,
    /// A secondary's interval.
    pub refresh: u32,
    /// Its interval after a failure.
    pub retry: u32,
    /// Its patience.
    pub expire: u32,
    /// Time to live of negative answers (RFC 2308), and of the SOA record itself.
    pub minimum: u32,
}

/// Records by owner name; those of one name are sorted.
pub type RecordTable = BTreeMap<DnsName, Vec<Record>>;

/// Everything that our zones hold, in both views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    zones: BTreeSet<DnsName>,
    public: RecordTable,
    private: RecordTable,
    private_networks: Vec<Network>,
    content: ContentHash,
}

impl RecordSet {
    /// The records of `nodes` under `plan`. `previous` is what was published before: it decides
    /// where there is no node left for a name, and between nodes of equal age in mode `single`.
    #[must_use]
    pub fn build(
        plan: &PublishPlan,
        nodes: &[PublishedNode],
        previous: Option<&RecordSet>,
    ) -> RecordSet {
        let table = |view| {
            let mut builder = TableBuilder {
                plan,
                nodes,
                view,
                previous: previous.map(|previous| previous.table(view)),
                table: RecordTable::new(),
            };
            builder.add_services();
            builder.add_hosts();
            builder.add_authority();
            builder.finish()
        };
        let (public, private) = (table(View::Public), table(View::Private));
        let zones: BTreeSet<DnsName> = plan.zones.iter().cloned().collect();
        let content = hash(&zones, &public, &private, &plan.private_networks);
        RecordSet {
            zones,
            public,
            private,
            private_networks: plan.private_networks.clone(),
            content,
        }
    }

    /// The apexes of our zones.
    pub fn zones(&self) -> impl Iterator<Item = &DnsName> {
        self.zones.iter()
    }

    /// All records of a view.
    #[must_use]
    pub fn table(&self, view: View) -> &RecordTable {
        match view {
            View::Public => &self.public,
            View::Private => &self.private,
        }
    }

    /// The networks whose askers see [`View::Private`].
    #[must_use]
    pub fn private_networks(&self) -> &[Network] {
        &self.private_networks
    }

    /// Equal for equal records, on every node.
    #[must_use]
    pub fn content(&self) -> ContentHash {
        self.content
    }

    /// The SRV targets of a service, for status displays and tests.
    pub fn targets(
        &self,
        view: View,
        service: Service,
        domain: &DnsName,
    ) -> impl Iterator<Item = (&DnsName, u16)> {
        let owner = domain.child(service.labels()).ok();
        let records = owner.and_then(|owner| self.table(view).get(&owner));
        records.into_iter().flatten().filter_map(|r| match &r.data {
            RecordData::Srv { target, port, .. } => Some((target, *port)),
            _ => None,
        })
    }
}

/// Builds one view.
struct TableBuilder<'a> {
    plan: &'a PublishPlan,
    nodes: &'a [PublishedNode],
    view: View,
    previous: Option<&'a RecordTable>,
    table: RecordTable,
}

impl TableBuilder<'_> {
    fn add_services(&mut self) {
        for (domain, service) in self.plan.published_services() {
            let Ok(owner) = domain.child(service.labels()) else {
                continue; // named by PublishPlan::problems
            };
            if self.plan.zone_of(&owner).is_none() {
                continue; // likewise
            }
            let mut records = self.targets(&owner, &domain, service);
            if records.is_empty() {
                records = self.last_known(&owner);
            }
            for record in records {
                self.add(&owner, record);
            }
        }
    }

    /// SRV records of the nodes that offer `service` and that the mode selects.
    fn targets(&self, owner: &DnsName, domain: &DnsName, service: Service) -> Vec<Record> {
        let host = self.plan.host_of(service, domain);
        // With one host for all nodes the records are alike, and one of them stays.
        let record = |node: &PublishedNode| Record {
            ttl: seconds(self.plan.ttl),
            data: RecordData::Srv {
                priority: SRV_PRIORITY,
                weight: SRV_WEIGHT,
                port: node.ports.of(service),
                target: host.unwrap_or(&node.host).clone(),
            },
        };
        let chosen = self.chosen(owner, domain, service);
        chosen.into_iter().map(record).collect()
    }

    /// The nodes that offer `service` and that the mode selects.
    fn chosen(&self, owner: &DnsName, domain: &DnsName, service: Service) -> Vec<&PublishedNode> {
        let host = self.plan.host_of(service, domain);
        let offering = self.nodes.iter().filter(|node| {
            node.services.contains(service) && self.is_reachable(host.unwrap_or(&node.host), node)
        });
        match self.plan.modes.of(service, domain) {
            PublishMode::All => offering.collect(),
            PublishMode::Subset(names) => offering.filter(|n| names.contains(&n.name)).collect(),
            // The oldest node: every node of the cluster comes to the same answer, a node that
            // joins changes nothing, and a node that comes back is young.
            PublishMode::Single => offering
                .min_by_key(|n| (n.started, !self.was_target(owner, &n.host), n.name.as_str()))
                .into_iter()
                .collect(),
        }
    }

    /// A host name outside our zones has its addresses elsewhere; one inside needs them here.
    fn is_reachable(&self, host: &DnsName, node: &PublishedNode) -> bool {
        self.plan.zone_of(host).is_none()
            || self.has_glue(host)
            || !self.addresses(&node.public, &node.private).is_empty()
    }

    /// What was published before, less the nodes that we see alive and that would be among the
    /// targets if they still offered the service.
    fn last_known(&self, owner: &DnsName) -> Vec<Record> {
        let gone = |record: &&Record| match &record.data {
            RecordData::Srv { target, .. } => self.nodes.iter().all(|node| node.host != *target),
            _ => false,
        };
        self.previous_records(owner).filter(gone).cloned().collect()
    }

    fn was_target(&self, owner: &DnsName, host: &DnsName) -> bool {
        self.previous_records(owner)
            .any(|record| matches!(&record.data, RecordData::Srv { target, .. } if target == host))
    }

    fn previous_records(&self, owner: &DnsName) -> impl Iterator<Item = &Record> {
        let records = self.previous.and_then(|previous| previous.get(owner));
        records.into_iter().flatten()
    }

    /// Addresses of the nodes, and of targets that were kept though their node is gone.
    fn add_hosts(&mut self) {
        let nodes = self.nodes;
        for node in nodes {
            let addresses = self.addresses(&node.public, &node.private).to_vec();
            self.add_addresses(&node.host, &addresses, seconds(self.plan.ttl));
        }
        self.add_sip_hosts();
        let targets: BTreeSet<DnsName> = self
            .table
            .values()
            .flatten()
            .filter_map(|record| match &record.data {
                RecordData::Srv { target, .. } => Some(target.clone()),
                _ => None,
            })
            .collect();
        for host in targets {
            if !self.table.contains_key(&host) {
                let known: Vec<Record> = self
                    .previous_records(&host)
                    .filter(|r| matches!(r.data, RecordData::A(_) | RecordData::Aaaa(_)))
                    .cloned()
                    .collect();
                for record in known {
                    self.add(&host, record);
                }
            }
        }
    }

    /// Addresses of the host names that stand for all nodes with SIP.
    fn add_sip_hosts(&mut self) {
        let plan = self.plan;
        for (domain, host) in &plan.sip_hosts {
            for service in [Service::SipFederation, Service::Sips] {
                let Ok(owner) = domain.child(service.labels()) else {
                    continue;
                };
                let addresses: Vec<IpAddr> = self
                    .chosen(&owner, domain, service)
                    .into_iter()
                    .flat_map(|node| self.addresses(&node.public, &node.private))
                    .copied()
                    .collect();
                self.add_addresses(host, &addresses, seconds(plan.ttl));
            }
        }
    }

    /// SOA and NS at every apex, and the name servers' addresses.
    fn add_authority(&mut self) {
        let plan = self.plan;
        let ttl = seconds(plan.name_server_ttl);
        for server in plan.name_servers.iter().filter(|s| has_addresses(s)) {
            // Static addresses replace those of the node with this name: they must agree with the
            // parent's glue and outlive the node.
            self.table.remove(&server.host);
            let addresses = self.addresses(&server.public, &server.private).to_vec();
            self.add_addresses(&server.host, &addresses, ttl);
        }
        for zone in &plan.zones {
            let hosts = self.name_server_hosts(zone);
            let minimum = seconds(plan.negative_ttl);
            let first = hosts.first().unwrap_or(zone);
            let soa = Soa {
                mname: plan.soa.mname.clone().unwrap_or_else(|| first.clone()),
                rname: plan.soa.rname.clone(),
                refresh: seconds(plan.soa.refresh),
                retry: seconds(plan.soa.retry),
                expire: seconds(plan.soa.expire),
                minimum,
            };
            let data = RecordData::Soa(soa);
            self.add(zone, Record { ttl: minimum, data });
            for host in hosts {
                let data = RecordData::Ns(host);
                self.add(zone, Record { ttl, data });
            }
        }
    }

    fn name_server_hosts(&self, zone: &DnsName) -> Vec<DnsName> {
        let mut hosts: Vec<DnsName> = if !self.plan.name_servers.is_empty() {
            let servers = self.plan.name_servers.iter();
            return servers.map(|server| server.host.clone()).collect();
        } else {
            self.nodes.iter().map(|node| node.host.clone()).collect()
        };
        if hosts.is_empty() {
            let known = self.previous_records(zone).filter_map(|r| match &r.data {
                RecordData::Ns(host) => Some(host.clone()),
                _ => None,
            });
            hosts = known.collect();
        }
        hosts.sort();
        hosts
    }

    fn has_glue(&self, host: &DnsName) -> bool {
        let mut servers = self.plan.name_servers.iter();
        servers.any(|server| server.host == *host && has_addresses(server))
    }

    fn addresses<'b>(&self, public: &'b [IpAddr], private: &'b [IpAddr]) -> &'b [IpAddr] {
        match self.view {
            View::Private if !private.is_empty() => private,
            _ => public,
        }
    }

    fn add_addresses(&mut self, host: &DnsName, addresses: &[IpAddr], ttl: u32) {
        for address in addresses {
            let data = match address.to_canonical() {
                IpAddr::V4(v4) => RecordData::A(v4),
                IpAddr::V6(v6) => RecordData::Aaaa(v6),
            };
            self.add(host, Record { ttl, data });
        }
    }

    /// Adds the record if its owner lies in a zone of ours.
    fn add(&mut self, owner: &DnsName, record: Record) {
        if self.plan.zone_of(owner).is_some() {
            self.table.entry(owner.clone()).or_default().push(record);
        }
    }

    fn finish(mut self) -> RecordTable {
        for records in self.table.values_mut() {
            records.sort();
            records.dedup();
        }
        self.table
    }
}

fn has_addresses(server: &NameServer) -> bool {
    !server.public.is_empty() || !server.private.is_empty()
}

/// TTLs above 2^31 − 1 count as 0 for resolvers (RFC 2181 section 8).
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).map_or(i32::MAX as u32, |s| s.min(i32::MAX as u32))
}

fn hash(
    zones: &BTreeSet<DnsName>,
    public: &RecordTable,
    private: &RecordTable,
    private_networks: &[Network],
) -> ContentHash {
    let mut hasher = ContentHasher::new();
    for zone in zones {
        hasher.line(format_args!("zone {zone}"));
    }
    for network in private_networks {
        hasher.line(format_args!("private {network}"));
    }
    for (view, table) in [("public", public), ("private", private)] {
        for (owner, records) in table {
            for record in records {
                hasher.line(format_args!("{view} {owner} {record}"));
            }
        }
    }
    hasher.finish()
}

impl fmt::Display for Record {
    /// As in a zone file, without the owner; a SOA without its serial.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IN ", self.ttl)?;
        match &self.data {
            RecordData::Soa(soa) => write!(
                f,
                "SOA {}. {}. {} {} {} {}",
                soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
            ),
            RecordData::Ns(host) => write!(f, "NS {host}."),
            RecordData::Srv {
                priority,
                weight,
                port,
                target,
            } => write!(f, "SRV {priority} {weight} {port} {target}."),
            RecordData::A(address) => write!(f, "A {address}"),
            RecordData::Aaaa(address) => write!(f, "AAAA {address}"),
        }
    }
}

#[cfg(test)]
mod tests;
