//! The cluster that the tests publish: nodes n1, n2, ... with a public and a private address each.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use crate::plan::{PublishPlan, PublishedNode};
use crate::publication::Published;
use crate::records::RecordSet;
use crate::serial::Serial;
use crate::service::{Service, ServicePorts, Services};
use crate::{DnsName, RecordData, View};

pub(crate) fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

/// `example.com` and the nodes' zone are ours, of `example.org` only `_tcp`.
pub(crate) fn plan() -> PublishPlan {
    let zones = ["example.com", "_tcp.example.org", "nodes.example.net"].map(name);
    let domains = ["example.com", "example.org"].map(name);
    let mut plan = PublishPlan::new(
        zones.to_vec(),
        domains.to_vec(),
        name("hostmaster.example.com"),
    );
    plan.chat_domains = vec![name("conference.example.com")];
    plan.private_networks = vec!["10.0.0.0/8".parse().unwrap()];
    plan
}

pub(crate) fn node(number: u8) -> PublishedNode {
    PublishedNode {
        name: format!("n{number}"),
        host: name(&format!("n{number}.nodes.example.net")),
        public: vec![
            [192, 0, 2, number].into(),
            format!("2001:db8::{number:x}").parse().unwrap(),
        ],
        private: vec![[10, 0, 0, number].into()],
        services: all(),
        ports: ServicePorts::default(),
        started: u64::from(number),
    }
}

pub(crate) fn nodes(numbers: impl IntoIterator<Item = u8>) -> Vec<PublishedNode> {
    numbers.into_iter().map(node).collect()
}

pub(crate) fn all() -> Services {
    Service::ALL.into_iter().collect()
}

pub(crate) fn published(plan: &PublishPlan, nodes: &[PublishedNode]) -> Published {
    Published {
        records: Some(Arc::new(RecordSet::build(plan, nodes, None))),
        serial: Serial(2026),
        isolated: false,
    }
}

/// The first labels of the SRV targets under `owner` in the public view.
pub(crate) fn targets(set: &RecordSet, owner: &str) -> Vec<String> {
    let records = set.table(View::Public).get(&name(owner));
    let hosts = records
        .into_iter()
        .flatten()
        .filter_map(|record| match &record.data {
            RecordData::Srv { target, .. } => target.labels().next().map(str::to_owned),
            _ => None,
        });
    hosts.collect()
}
