//! The tables of the file as serde reads them: types only, no judgement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) node: RawNode,
    pub(crate) cluster: RawCluster,
    pub(crate) client: RawClient,
    pub(crate) xmpp: RawXmpp,
    pub(crate) sip: RawSip,
    pub(crate) federation: RawFederation,
    pub(crate) domains: BTreeMap<String, RawDomain>,
    pub(crate) dns: RawDns,
    pub(crate) drain: RawDrain,
    pub(crate) admin: RawAdmin,
    pub(crate) log: RawLog,
    pub(crate) limits: RawLimits,
}

impl RawConfig {
    pub(super) fn deserialize_from(table: toml::Table) -> Result<Self, Problem> {
        serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            Problem::new(key, error.into_inner().message().trim().to_owned())
                .cure("`entente config reference` shows the kind of value of each key")
        })
    }
}

macro_rules! table {
    ($name:ident { $($field:ident: $kind:ty,)* }) => {
        #[derive(Debug, Default, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $field: Option<$kind>,)* }
    };
}

table!(RawNode {
    id: String,
    host: String,
    data_dir: String,
    public_addresses: Vec<String>,
    private_addresses: Vec<String>,
    roles: Vec<String>,
    threads: i64,
});
table!(RawCluster {
    name: String,
    seeds: Vec<String>,
    bootstrap: bool,
    advertise: String,
    gossip_port: i64,
    mesh_port: i64,
    store_raft_port: i64,
    store_api_port: i64,
    listen: String,
    key_file: String,
    ca_file: String,
    ca_key_file: String,
    certificate_file: String,
    private_key_file: String,
});
table!(RawClient {
    listen: Vec<String>,
    direct_tls_listen: Vec<String>,
    require_tls: bool,
    plain: bool,
    max_stanza_bytes: i64,
    idle_seconds: i64,
    resume_seconds: i64,
    max_connections: i64,
    max_unauthenticated_per_address: i64,
});
table!(RawXmpp {
    listen: Vec<String>,
    direct_tls_listen: Vec<String>,
    max_stanza_bytes: i64,
    connect_seconds: i64,
    queue_stanzas: i64,
    queue_seconds: i64,
    idle_seconds: i64,
    dialback: bool,
    trusted_ca_file: String,
    max_connections: i64,
    max_unauthenticated_per_address: i64,
    resolver: Vec<String>,
});

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSip {
    pub(crate) listen: Option<Vec<String>>,
    pub(crate) tcp_listen: Option<Vec<String>>,
    pub(crate) host: Option<String>,
    pub(crate) public_port: Option<i64>,
    pub(crate) certificate_file: Option<String>,
    pub(crate) private_key_file: Option<String>,
    pub(crate) trusted_ca_file: Option<String>,
    pub(crate) max_message_bytes: Option<i64>,
    pub(crate) connect_seconds: Option<i64>,
    pub(crate) queue_requests: Option<i64>,
    pub(crate) idle_seconds: Option<i64>,
    pub(crate) probe_seconds: Option<i64>,
    pub(crate) max_connections: Option<i64>,
    pub(crate) max_unauthenticated_per_address: Option<i64>,
    pub(crate) proxy_networks: Option<Vec<String>>,
    pub(crate) dns_mode: Option<String>,
    pub(crate) addresses: Option<Vec<String>>,
    pub(crate) peer: BTreeMap<String, RawSipPeer>,
}

table!(RawSipPeer {
    domains: Vec<String>,
    other_domains: bool,
    targets: Vec<String>,
    transport: String,
    profile: String,
    tls_subjects: Vec<String>,
    allow_common_name: bool,
    requests_per_second: i64,
    aliases: Vec<String>,
    one_node: bool,
});

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawFederation {
    pub(crate) default: Option<String>,
    pub(crate) messages_per_second: Option<i64>,
    pub(crate) subscriptions_per_minute: Option<i64>,
    pub(crate) domains: BTreeMap<String, RawPeer>,
}

table!(RawPeer {
    policy: String,
    tls: String,
    targets: Vec<String>,
    direct_tls: bool,
    require_certificate: bool,
});
table!(RawDomain {
    certificate_file: String,
    private_key_file: String,
    chat_domains: Vec<String>,
    sip_host: String,
});
table!(RawDns {
    listen: Vec<String>,
    zones: Vec<String>,
    name_servers: Vec<String>,
    ttl_seconds: i64,
    mode: String,
    private_networks: Vec<String>,
    responses_per_second: i64,
});
table!(RawDrain {
    dns_wait_seconds: i64,
    on_stop: String,
    streams_per_second: i64,
});
table!(RawAdmin {
    listen: String,
    health_listen: String,
});
table!(RawLog {
    level: String,
    format: String,
});
table!(RawLimits {
    offline_messages: i64,
    roster_items: i64,
    sessions_per_user: i64,
    custody_stanzas: i64,
    repeat_seconds: i64,
    repeats: i64,
});
