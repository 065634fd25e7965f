//! What a node publishes in DNS.

use std::sync::Arc;

use entente_cluster::Member;
use entente_dns_publisher::{
    DnsName, PublicationInput, PublishPlan, PublishedNode, Service, ServicePorts, Services, View,
};

use super::node::{DOMAIN, Node};
use super::stage::Stage;

impl Node {
    pub(crate) fn publish(&mut self, stage: &mut Stage, input: PublicationInput) {
        self.publication
            .handle_input(stage.now, stage.unix(), input);
        let Some(published) = self.publication.poll_output() else {
            return;
        };
        if let Some(announcement) = published.announcement() {
            self.membership.announcement = announcement.to_string().into();
        }
        let empty = published.records.as_ref().is_some_and(|records| {
            let domain = DnsName::parse(DOMAIN).expect("a fine name");
            let targets = records.targets(View::Public, Service::XmppServer, &domain);
            targets.count() == 0
        });
        if empty {
            stage.violated(format!("n{} publishes no server at all", self.index));
        }
    }

    /// What this node publishes, as a fingerprint with the serial.
    pub(crate) fn announcement(&self) -> &str {
        &self.membership.announcement
    }
}

/// What is to be published.
pub(crate) fn plan() -> Arc<PublishPlan> {
    let name = |text| DnsName::parse(text).expect("a fine name");
    Arc::new(PublishPlan::new(
        vec![name(DOMAIN), name("nodes.example.net")],
        vec![name(DOMAIN)],
        name("hostmaster.example.com"),
    ))
}

/// A member as it is published.
pub(crate) fn published(member: &Member) -> Option<PublishedNode> {
    Some(PublishedNode {
        name: member.id.as_str().to_owned(),
        host: member.host.parse().ok()?,
        public: member.public.clone(),
        private: Vec::new(),
        services: Services::NONE
            .with(Service::XmppServer)
            .with(Service::XmppClient),
        ports: ServicePorts::default(),
        started: member.started,
    })
}
