//! From the cluster's view to the DNS publisher's inputs.

use std::net::IpAddr;
use std::sync::Arc;

use entente_cluster::{ClusterView, Member, MembershipHandle, Roles, Standing};
use entente_dns_publisher::{
    Announcement, DnsConfig as ServerConfig, DnsError, DnsHandle, DnsName, DnsServer, ModeRule,
    NameError, NameServer, Network, NetworkError, PublishMode, PublishModes, PublishPlan,
    PublishedNode, Publisher, PublisherInputs, RecordData, RrlConfig, ScheduleConfig, Service,
    ServicePorts, Services, View,
};
use tokio::sync::watch;

use crate::config::{Config, DnsMode};
use crate::drain::Naming;

/// Why the publisher can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("dns: `{name}` is no name that can be published: {source}")]
    Name { name: String, source: NameError },
    #[error("dns.private_networks: {0}")]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Server(#[from] DnsError),
}

/// The running publisher and name server.
pub(crate) struct Dns {
    _publisher: Publisher,
    _server: Option<DnsHandle>,
    published: watch::Receiver<Arc<entente_dns_publisher::Published>>,
    /// This node's name in the records.
    host: Option<DnsName>,
}

impl Dns {
    /// What is served now.
    pub(crate) fn published(&self) -> Arc<entente_dns_publisher::Published> {
        self.published.borrow().clone()
    }

    /// Whether DNS still leads to this node, which drains: by what the others gossip of their own name
    /// servers, not by what this node believes of them.
    pub(crate) fn naming(&self, view: &ClusterView) -> Naming {
        if view.dns_published().all(|member| member.id == view.local) {
            return Naming::Alone;
        }
        let published = self.published.borrow();
        let (Some(records), Some(host)) = (&published.records, &self.host) else {
            return Naming::Named;
        };
        let named_here = [View::Public, View::Private].iter().any(|view| {
            records.table(*view).values().flatten().any(
                |record| matches!(&record.data, RecordData::Srv { target, .. } if target == host),
            )
        });
        let others_follow = view
            .members
            .iter()
            .filter(|member| member.id != view.local)
            .filter(|member| member.standing != Standing::Down && member.has(Roles::DNS))
            .all(|member| {
                let announced = member.announcement.parse::<Announcement>();
                announced.is_ok_and(|announced| announced.content == records.content())
            });
        if named_here || !others_follow {
            Naming::Named
        } else {
            Naming::Gone
        }
    }

    /// Starts to publish and, if this node has the role, to answer.
    pub(crate) fn start(
        config: &Config,
        membership: &Arc<MembershipHandle>,
        isolated: watch::Receiver<bool>,
    ) -> Result<Self, PublishError> {
        let plan = plan(config)?;
        let ports = ports(config);
        let view = membership.view();
        let (nodes_sender, nodes) = watch::channel(nodes_of(&view.borrow(), ports));
        let (announcements_sender, announcements) = watch::channel(Vec::new());
        let (_plan_sender, plan) = watch::channel(Arc::new(plan));
        let publisher = Publisher::start(
            ScheduleConfig::default(),
            PublisherInputs {
                nodes,
                plan,
                announcements,
                isolated,
            },
        );
        tokio::spawn(follow(view, ports, nodes_sender, announcements_sender));
        tokio::spawn(announce(publisher.published(), Arc::clone(membership)));
        let published = publisher.published();
        let server = if config.node.roles.contains(Roles::DNS) {
            let mut server = ServerConfig::new(config.dns.listen.clone());
            server.rrl = rate_limit(config.dns.responses_per_second);
            Some(DnsServer::start(server, publisher.published())?)
        } else {
            None
        };
        Ok(Self {
            _publisher: publisher,
            _server: server,
            published,
            host: name(&config.node.host).ok(),
        })
    }
}

fn rate_limit(per_second: u32) -> RrlConfig {
    RrlConfig {
        responses_per_second: per_second,
        ..RrlConfig::default()
    }
}

async fn follow(
    mut view: watch::Receiver<Arc<ClusterView>>,
    ports: ServicePorts,
    nodes: watch::Sender<Vec<PublishedNode>>,
    announcements: watch::Sender<Vec<Announcement>>,
) {
    loop {
        let current = view.borrow_and_update().clone();
        let fresh = nodes_of(&current, ports);
        nodes.send_if_modified(|known| {
            let changed = *known != fresh;
            if changed {
                *known = fresh;
            }
            changed
        });
        let heard: Vec<Announcement> = current
            .members
            .iter()
            .filter(|member| member.id != current.local)
            .filter_map(|member| member.announcement.parse().ok())
            .collect();
        announcements.send_if_modified(|known| {
            let changed = *known != heard;
            if changed {
                *known = heard;
            }
            changed
        });
        if view.changed().await.is_err() {
            return;
        }
    }
}

async fn announce(
    mut published: watch::Receiver<Arc<entente_dns_publisher::Published>>,
    membership: Arc<MembershipHandle>,
) {
    loop {
        let announcement = published.borrow_and_update().announcement();
        if let Some(announcement) = announcement
            && let Err(error) = membership.announce(announcement.to_string())
        {
            tracing::error!(%error, "the name server's serial is not gossiped");
        }
        if published.changed().await.is_err() {
            return;
        }
    }
}

fn nodes_of(view: &ClusterView, ports: ServicePorts) -> Vec<PublishedNode> {
    view.dns_published()
        .filter_map(|member| node_of(member, ports))
        .collect()
}

fn node_of(member: &Member, ports: ServicePorts) -> Option<PublishedNode> {
    let mut services = Services::NONE;
    if member.has(Roles::XMPP) {
        services = services
            .with(Service::XmppServer)
            .with(Service::XmppsServer);
    }
    if member.has(Roles::CLIENT) {
        services = services
            .with(Service::XmppClient)
            .with(Service::XmppsClient);
    }
    if member.has(Roles::SIP) {
        services = services.with(Service::SipFederation).with(Service::Sips);
    }
    let fallback = |list: &[IpAddr]| -> Vec<IpAddr> {
        if list.is_empty() {
            vec![member.mesh.ip()]
        } else {
            list.to_vec()
        }
    };
    Some(PublishedNode {
        name: member.id.as_str().to_owned(),
        host: member.host.parse().ok()?,
        public: fallback(&member.public),
        private: member.private.clone(),
        services,
        ports,
        started: member.started.saturating_mul(1000),
    })
}

fn ports(config: &Config) -> ServicePorts {
    let first = |list: &[std::net::SocketAddr], default: u16| {
        list.first().map_or(default, std::net::SocketAddr::port)
    };
    let defaults = ServicePorts::default();
    ServicePorts {
        xmpp_server: first(&config.xmpp.listen, defaults.xmpp_server),
        xmpps_server: first(&config.xmpp.direct_tls_listen, defaults.xmpps_server),
        xmpp_client: first(&config.client.listen, defaults.xmpp_client),
        xmpps_client: first(&config.client.direct_tls_listen, defaults.xmpps_client),
        sip_federation: config.sip.public_port,
        sips: config.sip.public_port,
    }
}

/// The plan that the configuration stands for.
pub(crate) fn plan(config: &Config) -> Result<PublishPlan, PublishError> {
    let local: Vec<DnsName> = names(config.domains.keys())?;
    let zones = if config.dns.zones.is_empty() {
        local.clone()
    } else {
        names(&config.dns.zones)?
    };
    let rname = name(&format!(
        "hostmaster.{}",
        zones
            .first()
            .map_or_else(|| "invalid".to_owned(), DnsName::to_string)
    ))?;
    let mut plan = PublishPlan::new(zones, local, rname);
    plan.chat_domains = names(
        config
            .domains
            .values()
            .flat_map(|domain| &domain.chat_domains),
    )?;
    plan.ttl = config.dns.ttl;
    plan.negative_ttl = config.dns.ttl;
    plan.name_servers = config
        .dns
        .name_servers
        .iter()
        .map(|host| {
            Ok(NameServer {
                host: name(host)?,
                public: Vec::new(),
                private: Vec::new(),
            })
        })
        .collect::<Result<_, PublishError>>()?;
    plan.modes = PublishModes {
        default: mode(&config.dns.mode),
        rules: sip_modes(config),
    };
    for (domain, settings) in &config.domains {
        if let Some(host) = &settings.sip_host {
            plan.sip_hosts.insert(name(domain)?, name(host)?);
        }
    }
    plan.private_networks = config
        .dns
        .private_networks
        .iter()
        .map(|network| Network::new(network.address, network.prefix))
        .collect::<Result<_, _>>()?;
    Ok(plan)
}

fn mode(mode: &DnsMode) -> PublishMode {
    match mode {
        DnsMode::All => PublishMode::All,
        DnsMode::Single => PublishMode::Single,
        DnsMode::Subset(names) => PublishMode::Subset(names.iter().cloned().collect()),
    }
}

/// SIP may be published in another way than the rest: many peers take one address only (H3).
fn sip_modes(config: &Config) -> Vec<ModeRule> {
    let Some(chosen) = &config.sip.dns_mode else {
        return Vec::new();
    };
    [Service::SipFederation, Service::Sips]
        .map(|service| ModeRule {
            service: Some(service),
            domain: None,
            mode: mode(chosen),
        })
        .into()
}

fn names<'a>(list: impl IntoIterator<Item = &'a String>) -> Result<Vec<DnsName>, PublishError> {
    list.into_iter().map(|text| name(text)).collect()
}

fn name(text: &str) -> Result<DnsName, PublishError> {
    let ascii = entente_xmpp_core::jid::domain_to_ascii(text)
        .map_or_else(|_| text.to_owned(), |name| name.into_owned());
    ascii.parse().map_err(|source| PublishError::Name {
        name: text.to_owned(),
        source,
    })
}
