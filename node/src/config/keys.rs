//! The one list of configuration keys: what each means, its default and bounds. The reference
//! (`entente config reference`), the environment's names and the refusal of unknown keys all come
//! from it; a test holds it against the raw tables.

use super::problem::{Problem, nearest};

/// What sort of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Switch,
    List,
}

/// One key. `*` in a path stands for a domain name, or below `sip.peer` for a name of one's choice.
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// Bounds or the allowed words; empty when any value of the kind goes.
    pub(crate) bounds: &'static str,
    pub(crate) meaning: &'static str,
}

macro_rules! keys {
    ($($path:literal $kind:ident $default:literal $bounds:literal $meaning:literal;)*) => {
        &[$(Key { path: $path, kind: Kind::$kind, default: $default, bounds: $bounds, meaning: $meaning }),*]
    };
}

/// Every key, in the order of the reference.
pub(crate) const KEYS: &[Key] = keys! {
    "node.id" Text "host name of the machine" "letters, digits, hyphen; 1 to 63" "Name of this node, unique in the cluster; keeps across restarts.";
    "node.host" Text "node.id" "a host name" "Public DNS name of this node: the target of its SRV records.";
    "node.data_dir" Text "/var/lib/entente" "a folder" "Where this node keeps its store, generation and backups.";
    "node.public_addresses" List "[]" "IP addresses" "Addresses under which peers and clients on the Internet reach this node (A and AAAA in the public view). Without one the node's own addresses are used.";
    "node.private_addresses" List "[]" "IP addresses" "The same for askers in dns.private_networks.";
    "node.roles" List "[\"home\", \"client\", \"xmpp\", \"sip\", \"dns\"]" "home, client, xmpp, sip, dns" "What this node does: home of users, client access, XMPP federation, SIP federation (only with sip.listen), name server.";
    "node.threads" Integer "0" "0 to 1024" "Threads that serve. 0: one for each core that the machine, or the container's limit, gives. Where several nodes share a machine, give each its part of the cores: nodes with more threads than cores cost more CPU for each message.";
    "cluster.name" Text "entente" "a DNS label" "Name of the cluster; nodes of another name are not heard.";
    "cluster.seeds" List "[]" "host:port" "Gossip addresses of some nodes, names or addresses; a name may stand for many. Empty: a cluster of this node alone.";
    "cluster.bootstrap" Switch "false" "" "This node founds the cluster when its data_dir is empty and no seed answers. Exactly one node of a new cluster says so.";
    "cluster.advertise" Text "first address of the machine" "host name or IP address" "How other nodes reach this node (gossip, mesh and store).";
    "cluster.gossip_port" Integer "7946" "1 to 65535" "UDP port of the gossip.";
    "cluster.mesh_port" Integer "7947" "1 to 65535" "TCP port of the mesh (gRPC, mutual TLS).";
    "cluster.store_raft_port" Integer "7948" "1 to 65535" "TCP port of the store's replication.";
    "cluster.store_api_port" Integer "7949" "1 to 65535" "TCP port of the store's own calls.";
    "cluster.listen" Text "0.0.0.0" "IP address" "Address on which the four cluster ports listen.";
    "cluster.key_file" Text "" "a file of 64 hex digits, mode 0400 or 0600" "The cluster key: seals the gossip, derives the store's and the dialback secrets.";
    "cluster.ca_file" Text "" "PEM file" "Certificate of the cluster CA; nodes accept only nodes with a certificate of it.";
    "cluster.ca_key_file" Text "" "PEM file, mode 0400 or 0600" "Key of the cluster CA. Only where nodes are to issue their own certificate at the start (scaling without a step by hand); leave it out where certificates are handed out.";
    "cluster.certificate_file" Text "" "PEM file" "This node's certificate, with NODE.mesh.entente.internal, store.entente.internal and cluster.advertise as subject alternative names. Not needed with ca_key_file.";
    "cluster.private_key_file" Text "" "PEM file, mode 0400 or 0600" "Key of certificate_file.";
    "client.listen" List "[\"[::]:5222\"]" "address:port" "Client access with STARTTLS.";
    "client.direct_tls_listen" List "[\"[::]:5223\"]" "address:port" "Client access with TLS from the first byte (XEP-0368).";
    "client.require_tls" Switch "true" "" "Refuse to authenticate clients without TLS.";
    "client.plain" Switch "true" "" "Offer SASL PLAIN under TLS. SCRAM is always offered.";
    "client.max_stanza_bytes" Integer "262144" "10000 to 1048576" "Largest stanza taken from a client after authentication.";
    "client.idle_seconds" Integer "1800" "30 to 86400" "Silence after which a client's connection is asked, and then closed.";
    "client.resume_seconds" Integer "300" "0 to 86400" "How long a broken stream can be resumed (XEP-0198). 0 switches resumption off.";
    "client.max_connections" Integer "50000" "1 to 1000000" "Client connections on this node.";
    "client.max_unauthenticated_per_address" Integer "100" "1 to 1000000" "Connections of one address that have not authenticated.";
    "xmpp.listen" List "[\"[::]:5269\"]" "address:port" "Federation with STARTTLS.";
    "xmpp.direct_tls_listen" List "[\"[::]:5270\"]" "address:port" "Federation with TLS from the first byte (XEP-0368).";
    "xmpp.max_stanza_bytes" Integer "524288" "10000 to 10485760" "Largest stanza taken from a peer after authentication.";
    "xmpp.connect_seconds" Integer "10" "1 to 120" "Time for one attempt to reach a peer's server, up to an authenticated stream.";
    "xmpp.queue_stanzas" Integer "10000" "1 to 1000000" "Stanzas of one domain pair that wait for a stream or for the peer's acknowledgement; more are bounced as resource-constraint.";
    "xmpp.queue_seconds" Integer "60" "1 to 3600" "How long a stanza waits for a stream before it is bounced as remote-server-timeout.";
    "xmpp.idle_seconds" Integer "840" "30 to 86400" "Silence after which a federation stream is closed.";
    "xmpp.dialback" Switch "true" "" "Accept and use server dialback (XEP-0220) where certificates do not prove the domain.";
    "xmpp.trusted_ca_file" Text "the system's roots" "PEM file" "CAs that peers' certificates are checked against.";
    "xmpp.max_connections" Integer "10000" "1 to 1000000" "Inbound federation connections on this node.";
    "xmpp.max_unauthenticated_per_address" Integer "50" "1 to 1000000" "Federation connections of one address that have not authenticated.";
    "xmpp.resolver" List "[]" "address:port" "Resolvers for finding peers, XMPP and SIP. Empty: the system's.";
    "sip.listen" List "[]" "address:port" "SIP federation over TLS, usually [\"[::]:5061\"]. Empty (and sip.tcp_listen too): no SIP on any node, no SIP record in DNS.";
    "sip.tcp_listen" List "[]" "address:port" "SIP without TLS, for labs: only peers with transport = \"tcp\" are heard there.";
    "sip.host" Text "" "a host name" "The one public host name that all nodes put into Via and Contact. It must lead to the nodes with SIP (E3).";
    "sip.public_port" Integer "5061" "1 to 65535" "The port beside it, and the port of the SRV records.";
    "sip.certificate_file" Text "the local domains' certificates" "PEM file" "Certificate for all SIP connections. Set it for peers that send no server name (Microsoft's edges); it should name sip.host, every local domain and every domain's sip_host.";
    "sip.private_key_file" Text "" "PEM file, mode 0400 or 0600" "Key of certificate_file.";
    "sip.trusted_ca_file" Text "xmpp.trusted_ca_file" "PEM file" "CAs that SIP peers' certificates are checked against.";
    "sip.max_message_bytes" Integer "65536" "4096 to 1048576" "Largest SIP message taken from a peer.";
    "sip.connect_seconds" Integer "10" "1 to 120" "Time for one attempt to reach a peer, up to the end of the TLS handshake.";
    "sip.queue_requests" Integer "2000" "10 to 100000" "Requests that wait for one peer's connection or pace; more are refused.";
    "sip.idle_seconds" Integer "900" "30 to 86400" "Silence after which a connection is closed. It is opened again on demand.";
    "sip.probe_seconds" Integer "180" "0 to 86400" "Silence after which a peer is asked with OPTIONS whether it is there. 0 switches it off.";
    "sip.max_connections" Integer "2000" "1 to 100000" "Inbound SIP connections on this node.";
    "sip.max_unauthenticated_per_address" Integer "20" "1 to 100000" "SIP connections of one address that have not yet sent a request of an allowed domain.";
    "sip.proxy_networks" List "[]" "CIDR networks" "Load balancers: connections from these networks must begin with a PROXY protocol header (version 2), which names the true source (H3).";
    "sip.dns_mode" Text "dns.mode" "all, single, or subset:NODE,NODE" "Which live nodes the SIP records name. Peers that try one address only (H3) want single.";
    "sip.addresses" List "[]" "user@domain=address@domain" "Users who have another address than their JID for SIP peers, such as jsmith@imp.example.com=john.smith@example.com. Both domains must be local ones. Who has the address on the right as JID, and no entry, is not reached over SIP.";
    "sip.peer.*.domains" List "[]" "domain names" "The external domains that this peer serves. Each counts for itself, never for its subdomains or parents (F8); none may be in federation.domains too (F4).";
    "sip.peer.*.other_domains" Switch "false" "" "The peer is a clearing house: it serves every domain that is written nowhere else (F5). With no targets: every such domain over SIP, found by DNS.";
    "sip.peer.*.targets" List "[]" "host:port" "Where it is, instead of DNS; in this order.";
    "sip.peer.*.transport" Text "tls" "tls, tcp" "tcp is for labs: without encryption, known by the addresses in targets alone.";
    "sip.peer.*.profile" Text "simple" "simple, ocs, lync, office365, aol" "What software it is: decides on sessions or single messages, presence documents and typing notices.";
    "sip.peer.*.tls_subjects" List "[]" "names in certificates" "Names (subject alternative names, as they stand there) of which the peer's certificate must have one; it then speaks for all domains of the peer. Without any: a host in targets, or the domain itself.";
    "sip.peer.*.allow_common_name" Switch "false" "" "Also take tls_subjects from the certificate's common name, if it has no subject alternative names.";
    "sip.peer.*.requests_per_second" Integer "20" "1 to 10000" "Requests a second sent to the peer by each node; more wait. Microsoft's edges answer 503 above 20.";
    "sip.peer.*.aliases" List "[]" "alias=domain" "Domains of the peer that are another name for a domain, such as aim.com=aol.com: users see only the latter.";
    "sip.peer.*.one_node" Switch "false" "" "All requests to the peer leave by one node (R2), chosen for the peer; for gateways such as AOL's that know one address. Always so with profile = \"aol\".";
    "federation.default" Text "allow" "allow, deny" "Policy for domains that have no entry of their own (E2).";
    "federation.messages_per_second" Integer "500" "1 to 1000000" "Stanzas a second taken from one external domain; more wait.";
    "federation.subscriptions_per_minute" Integer "600" "1 to 1000000" "New subscription requests a minute from one external domain; more are refused.";
    "federation.domains.*.policy" Text "allow" "allow, deny" "Whether the domain may federate. Never counts for its subdomains or parents (F8).";
    "federation.domains.*.tls" Text "required" "required, optional, none" "TLS on streams with the domain.";
    "federation.domains.*.targets" List "[]" "host:port" "Where its servers are, instead of DNS; in this order.";
    "federation.domains.*.direct_tls" Switch "false" "" "The targets speak TLS from the first byte.";
    "federation.domains.*.require_certificate" Switch "false" "" "Only SASL EXTERNAL: no dialback with the domain.";
    "domains.*.certificate_file" Text "" "PEM file" "Certificate chain for the local domain, for clients and peers.";
    "domains.*.private_key_file" Text "" "PEM file, mode 0400 or 0600" "Its key.";
    "domains.*.chat_domains" List "[]" "domain names" "Chat domains (H5) whose SRV records are published like the domain's own.";
    "domains.*.sip_host" Text "the nodes' hosts" "a host name" "Target of the domain's SIP records, with the addresses of the nodes if it lies in a zone of ours. Microsoft's edges want one inside the domain itself.";
    "dns.listen" List "[\"[::]:53\"]" "address:port" "Where the publisher answers, UDP and TCP.";
    "dns.zones" List "the local domains" "domain names" "Zones that the nodes answer for: a domain, or only its `_tcp.` part when just that is delegated.";
    "dns.name_servers" List "the nodes' hosts" "host names" "NS records of the zones.";
    "dns.ttl_seconds" Integer "30" "1 to 3600" "TTL of SRV and address records.";
    "dns.mode" Text "all" "all, single, or subset:NODE,NODE" "Which live nodes the SRV records name: all, one stable one, or those of a list (H2, R5).";
    "dns.private_networks" List "[]" "CIDR networks" "Askers that see private addresses (E4).";
    "dns.responses_per_second" Integer "20" "0 to 1000000" "Response rate limit per network (/24, /56). 0 switches it off.";
    "drain.dns_wait_seconds" Integer "dns.ttl_seconds and 5 more" "0 to 7200" "How long a drain goes on serving after all name servers have dropped the node: until resolvers have forgotten its records. `entente drain --now` skips it.";
    "drain.on_stop" Text "quick" "quick, patient" "What SIGTERM does to a node that was not drained before: hand over at once, or wait as `entente drain` does. With patient, whoever stops the node must grant it that time.";
    "drain.streams_per_second" Integer "500" "1 to 100000" "How many streams a drain ends in a second; more if it would take over a minute.";
    "admin.listen" Text "127.0.0.1:9290" "address:port on loopback" "Metrics, health and the administration used by `entente status`, `user`, `drain`.";
    "admin.health_listen" Text "" "address:port" "A second listener with /metrics, /livez and /readyz only, for an orchestrator's network.";
    "log.level" Text "info" "error, warn, info, debug, trace, or directives" "What is logged.";
    "log.format" Text "text" "text, json" "How it is logged.";
    "limits.offline_messages" Integer "1000" "0 to 1000000" "Offline messages kept for a user; more are refused to the sender.";
    "limits.roster_items" Integer "5000" "1 to 1000000" "Contacts of a user.";
    "limits.sessions_per_user" Integer "50" "1 to 1000" "Resources that a user may have online.";
    "limits.custody_stanzas" Integer "256" "8 to 65536" "Stanzas that a connection may have accepted without a receipt; then it is not read from.";
    "limits.repeat_seconds" Integer "120" "0 to 3600" "For so long a message that its sender's client sends again on another connection, with the same id and content, is recognised and delivered once. 0 switches that off.";
    "limits.repeats" Integer "32768" "0 to 10000000" "Messages remembered for that by each home shard (twice as many shards as cores), some 100 bytes each.";
};

/// Keys in `table` that the list does not have, each with the nearest that it has.
pub(super) fn unknown(table: &toml::Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(table, "", &mut problems);
    problems
}

fn walk(table: &toml::Table, prefix: &str, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let shown = join(prefix, name);
        let pattern = pattern_of(prefix, name);
        if KEYS.iter().any(|key| key.path == pattern) {
            continue;
        }
        let is_section = KEYS
            .iter()
            .any(|key| key.path.starts_with(&format!("{pattern}.")));
        match value {
            toml::Value::Table(inner) if is_section => walk(inner, &shown, problems),
            _ if is_section => problems.push(
                Problem::new(shown, "is a table")
                    .cure(format!("write it as `[{pattern}]` with keys below")),
            ),
            _ => {
                let siblings = siblings(prefix);
                let mut problem = Problem::new(shown, "is no key that Entente knows");
                problem = match nearest(name, siblings.iter().copied()) {
                    Some(near) => problem.cure(format!("did you mean `{near}`?")),
                    None => problem.cure(format!("known here: {}", siblings.join(", "))),
                };
                problems.push(problem);
            }
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    let quoted = if name.contains('.') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    };
    if prefix.is_empty() {
        quoted
    } else {
        format!("{prefix}.{quoted}")
    }
}

/// The path as the list has it: a name directly below `domains`, `federation.domains` or `sip.peer`
/// is `*`.
fn pattern_of(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        "domains" | "federation.domains" | "sip.peer" => format!("{prefix}.*"),
        _ if prefix.starts_with("domains.") => format!("domains.*.{name}"),
        _ if prefix.starts_with("federation.domains.") => format!("federation.domains.*.{name}"),
        _ if prefix.starts_with("sip.peer.") => format!("sip.peer.*.{name}"),
        _ => format!("{prefix}.{name}"),
    }
}

fn siblings(prefix: &str) -> Vec<&'static str> {
    let section = match pattern_of(prefix, "") {
        pattern if pattern.is_empty() => String::new(),
        pattern => format!("{}.", pattern.trim_end_matches(".")),
    };
    let mut names: Vec<&'static str> = KEYS
        .iter()
        .filter_map(|key| key.path.strip_prefix(section.as_str()))
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    names
}

/// The configuration reference as Markdown.
pub(crate) fn reference() -> String {
    let mut out = String::from(
        "# Configuration reference\n\n\
         Printed by `entente config reference`; a test keeps the two alike. One TOML file serves all nodes;\n\
         what differs between nodes comes from the environment. `*` stands for a domain name in quotes\n\
         (`[domains.\"example.com\"]`), below `sip.peer` for a name of your choice (`[sip.peer.partner]`); keys\n\
         below a `*` have no variable. Relative file names count from\n\
         the configuration file's folder.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (head, _) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if head != section {
            section = head;
            out.push_str(&format!(
                "\n## [{section}]\n\n| key | default | bounds | meaning |\n|---|---|---|---|\n"
            ));
        }
        let name = key.path.rsplit_once('.').map_or(key.path, |(_, name)| name);
        let variable = if key.path.contains('*') {
            String::new()
        } else {
            format!("<br>`{}`", super::env::variable(key.path))
        };
        let default = if key.default.is_empty() {
            "none"
        } else {
            key.default
        };
        out.push_str(&format!(
            "| `{name}`{variable} | {default} | {} | {} |\n",
            key.bounds, key.meaning
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_key() {
        let table: toml::Table =
            toml::from_str("[client]\nlisen = ['x']\n[domains.\"a.example\"]\ncertificat_file='x'")
                .unwrap();
        let problems = unknown(&table);
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].key, "client.lisen");
        assert_eq!(problems[0].cure.as_deref(), Some("did you mean `listen`?"));
        assert_eq!(problems[1].key, "domains.\"a.example\".certificat_file");
        assert_eq!(
            problems[1].cure.as_deref(),
            Some("did you mean `certificate_file`?")
        );
    }

    #[test]
    fn the_shipped_reference_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config-reference.md");
        let shipped = std::fs::read_to_string(path).expect("deploy/config-reference.md is there");
        assert!(
            shipped == reference(),
            "deploy/config-reference.md is out of date: run `entente config reference > deploy/config-reference.md`"
        );
    }
}
