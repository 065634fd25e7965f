//! From raw tables to the checked configuration. Collects every problem before giving up, so that
//! an operator mends a file in one go.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod node;
mod sip;

use super::keys;
use super::problem::Problem;
use super::raw::{RawConfig, RawDns, RawDomain, RawDrain, RawFederation, RawPeer, RawSip, RawXmpp};
use super::types::*;

/// What a drain waits beyond the records' TTL: for resolvers that round up, and for those who look a
/// name up and connect a moment later.
const A_LITTLE: Duration = Duration::from_secs(5);

/// Checks all of `raw`; relative file names count from `base`.
pub(super) fn check(raw: RawConfig, base: &Path) -> Result<Config, Vec<Problem>> {
    let mut check = Check {
        base,
        problems: Vec::new(),
    };
    let domains = check.domains(raw.domains);
    let sip_is_on = [&raw.sip.listen, &raw.sip.tcp_listen]
        .into_iter()
        .flatten()
        .any(|list| !list.is_empty());
    let node = check.node(raw.node, sip_is_on);
    let cluster = check.cluster(raw.cluster);
    let client = ClientConfig {
        listen: check.listeners("client.listen", raw.client.listen, &["[::]:5222"]),
        direct_tls_listen: check.listeners(
            "client.direct_tls_listen",
            raw.client.direct_tls_listen,
            &["[::]:5223"],
        ),
        require_tls: raw.client.require_tls.unwrap_or(true),
        plain: raw.client.plain.unwrap_or(true),
        max_stanza_bytes: check.size("client.max_stanza_bytes", raw.client.max_stanza_bytes),
        idle: check.seconds("client.idle_seconds", raw.client.idle_seconds),
        resume: check.seconds("client.resume_seconds", raw.client.resume_seconds),
        max_connections: check.size("client.max_connections", raw.client.max_connections),
        max_unauthenticated_per_address: check.size(
            "client.max_unauthenticated_per_address",
            raw.client.max_unauthenticated_per_address,
        ),
    };
    let xmpp = check.xmpp(raw.xmpp);
    let sip = check.sip(&raw.sip, &xmpp);
    let federation = check.federation(raw.federation, raw.sip, &domains);
    let dns = check.dns(raw.dns);
    let drain = check.drain(raw.drain, dns.ttl);
    let admin = AdminConfig {
        listen: check.one_address("admin.listen", raw.admin.listen, "127.0.0.1:9290"),
        health_listen: raw
            .admin
            .health_listen
            .filter(|text| !text.is_empty())
            .map(|text| check.one_address("admin.health_listen", Some(text), "")),
    };
    if !admin.listen.ip().is_loopback() {
        check.report(
            Problem::new("admin.listen", format!("{} is not a loopback address", admin.listen))
                .cure("the administration has no login: keep it on 127.0.0.1 and use admin.health_listen for health and metrics"),
        );
    }
    let log = LogConfig {
        level: raw.log.level.unwrap_or_else(|| "info".to_owned()),
        json: check.word("log.format", raw.log.format, &["text", "json"]) == "json",
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.level) {
        check.report(
            Problem::new("log.level", error.to_string())
                .cure("use error, warn, info, debug or trace"),
        );
    }
    let limits = LimitsConfig {
        offline_messages: check.number("limits.offline_messages", raw.limits.offline_messages)
            as u32,
        roster_items: check.number("limits.roster_items", raw.limits.roster_items) as u32,
        sessions_per_user: check.number("limits.sessions_per_user", raw.limits.sessions_per_user)
            as u32,
        custody_stanzas: check.size("limits.custody_stanzas", raw.limits.custody_stanzas),
        repeat_window: check.seconds("limits.repeat_seconds", raw.limits.repeat_seconds),
        repeats: check.size("limits.repeats", raw.limits.repeats),
    };
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    match (node, cluster, federation) {
        (Some(node), Some(cluster), Some(federation)) => Ok(Config {
            node,
            cluster,
            client,
            xmpp,
            sip,
            federation: Arc::new(federation),
            domains,
            dns,
            drain,
            admin,
            log,
            limits,
        }),
        _ => Err(check.problems),
    }
}

struct Check<'a> {
    base: &'a Path,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A number within the bounds that the key list states; its default when absent.
    fn number(&mut self, path: &str, value: Option<i64>) -> i64 {
        self.number_at(path, path, value)
    }

    /// The same where the list has `*` for a part of the path.
    fn number_at(&mut self, path: &str, listed: &str, value: Option<i64>) -> i64 {
        let key = keys::KEYS
            .iter()
            .find(|key| key.path == listed)
            .expect("every numeric key is listed");
        let (low, high) = key
            .bounds
            .split_once(" to ")
            .expect("numeric keys state bounds");
        let low: i64 = low.parse().expect("a number");
        let high: i64 = high.parse().expect("a number");
        let default = || -> i64 {
            key.default
                .parse()
                .expect("numeric keys have numeric defaults")
        };
        let Some(value) = value else {
            return default();
        };
        if !(low..=high).contains(&value) {
            self.report(
                Problem::new(path, format!("{value} is out of range")).cure(format!(
                    "choose {low} to {high}; the default is {}",
                    key.default
                )),
            );
            return low;
        }
        value
    }

    fn size(&mut self, path: &str, value: Option<i64>) -> usize {
        usize::try_from(self.number(path, value)).expect("bounds are positive")
    }

    fn seconds(&mut self, path: &str, value: Option<i64>) -> Duration {
        Duration::from_secs(self.number(path, value).unsigned_abs())
    }

    fn port(&mut self, path: &str, value: Option<i64>) -> u16 {
        u16::try_from(self.number(path, value)).expect("bounds are those of a port")
    }

    fn word(&mut self, path: &str, value: Option<String>, words: &[&str]) -> String {
        let value = value.unwrap_or_else(|| words[0].to_owned());
        if !words.contains(&value.as_str()) {
            self.report(
                Problem::new(path, format!("`{value}` is not known"))
                    .cure(format!("write one of {}", words.join(", "))),
            );
        }
        value
    }

    fn address(&mut self, path: &str, text: &str) -> Option<SocketAddr> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.report(
                    Problem::new(path, format!("`{text}` is not an address and port"))
                        .cure("write 0.0.0.0:5222, [::]:5222 or a single address of this machine"),
                );
                None
            }
        }
    }

    fn one_address(&mut self, path: &str, text: Option<String>, default: &str) -> SocketAddr {
        let text = text.unwrap_or_else(|| default.to_owned());
        self.address(path, &text)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn listeners(
        &mut self,
        path: &str,
        list: Option<Vec<String>>,
        default: &[&str],
    ) -> Vec<SocketAddr> {
        let list = list.unwrap_or_else(|| default.iter().map(|&text| text.to_owned()).collect());
        list.iter()
            .filter_map(|text| self.address(path, text))
            .collect()
    }

    fn ip_list(&mut self, path: &str, list: Option<Vec<String>>) -> Vec<IpAddr> {
        let mut out = Vec::new();
        for text in list.unwrap_or_default() {
            match text.parse() {
                Ok(address) => out.push(address),
                Err(_) => self.report(
                    Problem::new(path, format!("`{text}` is not an IP address"))
                        .cure("write addresses, not names: [\"192.0.2.1\", \"2001:db8::1\"]"),
                ),
            }
        }
        out
    }

    /// A domain name in the form used inside: lower case, U-labels (RFC 7622).
    fn domain(&mut self, path: &str, text: &str) -> Option<String> {
        match entente_xmpp_core::jid::BareJid::new(text) {
            Ok(jid) if jid.node().is_none() => Some(jid.domain().to_owned()),
            _ => {
                self.report(
                    Problem::new(path, format!("`{text}` is not a domain name"))
                        .cure("write it like example.com"),
                );
                None
            }
        }
    }

    /// A host name, in A-labels as it goes into messages and DNS.
    fn host(&mut self, path: &str, text: &str) -> Option<String> {
        let name = self.domain(path, text)?;
        Some(
            entente_xmpp_core::jid::domain_to_ascii(&name)
                .map_or_else(|_| name.clone(), |ascii| ascii.into_owned()),
        )
    }

    fn targets(
        &mut self,
        path: &str,
        list: Option<Vec<String>>,
        example: &str,
    ) -> Vec<(String, u16)> {
        let mut targets = Vec::new();
        for text in list.unwrap_or_default() {
            match split_target(&text) {
                Some(target) => targets.push(target),
                None => self.report(
                    Problem::new(path, format!("`{text}` is not host:port"))
                        .cure(format!("write {example}")),
                ),
            }
        }
        targets
    }

    fn networks(&mut self, path: &str, list: Option<Vec<String>>) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in list.unwrap_or_default() {
            match parse_network(&text) {
                Some(network) => networks.push(network),
                None => self.report(
                    Problem::new(path, format!("`{text}` is not a network"))
                        .cure("write 10.0.0.0/8"),
                ),
            }
        }
        networks
    }

    fn file(&mut self, path: &str, name: Option<String>, secret: bool) -> Option<PathBuf> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            self.report(Problem::new(path, "is missing").cure("name the file"));
            return None;
        };
        let file = self.base.join(&name);
        match std::fs::metadata(&file) {
            Err(error) => {
                self.report(
                    Problem::new(path, format!("{}: {error}", file.display()))
                        .cure(if name.contains(['{', '$', '%']) {
                            "file names are taken as they are, nothing in them is replaced; what differs between nodes comes from the environment (`entente config reference`)"
                        } else {
                            "create the file or correct the name; relative names count from the configuration file's folder"
                        }),
                );
                return None;
            }
            Ok(metadata) if metadata.is_dir() => {
                self.report(
                    Problem::new(path, format!("{} is a folder", file.display()))
                        .cure("name the file in it"),
                );
                return None;
            }
            Ok(_) if !secret => {}
            Ok(metadata) => {
                use std::os::unix::fs::PermissionsExt;
                let mode = metadata.permissions().mode() & 0o777;
                if mode & 0o007 != 0 {
                    self.report(
                        Problem::new(
                            path,
                            format!(
                                "{} can be read by everybody (mode {mode:04o})",
                                file.display()
                            ),
                        )
                        .cure(format!("chmod 0400 {}", file.display())),
                    );
                    return None;
                }
            }
        }
        if let Err(error) = std::fs::File::open(&file) {
            self.report(
                Problem::new(path, format!("{} cannot be read: {error}", file.display())).cure(
                    "make it readable for the user that runs entente: chown, and chmod 0400 for keys",
                ),
            );
            return None;
        }
        Some(file)
    }

    fn domains(&mut self, raw: BTreeMap<String, RawDomain>) -> BTreeMap<String, DomainConfig> {
        if raw.is_empty() {
            self.report(Problem::new("domains", "names no local domain").cure(
                "add a table [domains.\"example.com\"] with certificate_file and private_key_file",
            ));
        }
        let mut out = BTreeMap::new();
        for (name, table) in raw {
            let path = format!("domains.\"{name}\"");
            let Some(domain) = self.domain(&path, &name) else {
                continue;
            };
            let certificate_file = self.file(
                &format!("{path}.certificate_file"),
                table.certificate_file,
                false,
            );
            let private_key_file = self.file(
                &format!("{path}.private_key_file"),
                table.private_key_file,
                true,
            );
            let chat_domains = table
                .chat_domains
                .unwrap_or_default()
                .iter()
                .filter_map(|chat| self.domain(&format!("{path}.chat_domains"), chat))
                .collect();
            let sip_host = table
                .sip_host
                .filter(|host| !host.is_empty())
                .and_then(|host| self.host(&format!("{path}.sip_host"), &host));
            if let (Some(certificate_file), Some(private_key_file)) =
                (certificate_file, private_key_file)
                && out
                    .insert(
                        domain.clone(),
                        DomainConfig {
                            certificate_file,
                            private_key_file,
                            chat_domains,
                            sip_host,
                        },
                    )
                    .is_some()
            {
                self.report(
                    Problem::new(path, format!("{domain} is there twice"))
                        .cure("remove one of the tables"),
                );
            }
        }
        out
    }

    fn xmpp(&mut self, raw: RawXmpp) -> XmppConfig {
        XmppConfig {
            listen: self.listeners("xmpp.listen", raw.listen, &["[::]:5269"]),
            direct_tls_listen: self.listeners(
                "xmpp.direct_tls_listen",
                raw.direct_tls_listen,
                &["[::]:5270"],
            ),
            max_stanza_bytes: self.size("xmpp.max_stanza_bytes", raw.max_stanza_bytes),
            connect_timeout: self.seconds("xmpp.connect_seconds", raw.connect_seconds),
            queue_stanzas: self.size("xmpp.queue_stanzas", raw.queue_stanzas),
            queue_time: self.seconds("xmpp.queue_seconds", raw.queue_seconds),
            idle: self.seconds("xmpp.idle_seconds", raw.idle_seconds),
            dialback: raw.dialback.unwrap_or(true),
            trusted_ca_file: raw
                .trusted_ca_file
                .filter(|name| !name.is_empty())
                .and_then(|name| self.file("xmpp.trusted_ca_file", Some(name), false)),
            max_connections: self.size("xmpp.max_connections", raw.max_connections),
            max_unauthenticated_per_address: self.size(
                "xmpp.max_unauthenticated_per_address",
                raw.max_unauthenticated_per_address,
            ),
            resolver: self.listeners("xmpp.resolver", raw.resolver, &[]),
        }
    }

    fn federation(
        &mut self,
        raw: RawFederation,
        sip: RawSip,
        local: &BTreeMap<String, DomainConfig>,
    ) -> Option<FederationPolicy> {
        let default = self.word("federation.default", raw.default, &["allow", "deny"]);
        let messages = self.number("federation.messages_per_second", raw.messages_per_second);
        let subscriptions = self.number(
            "federation.subscriptions_per_minute",
            raw.subscriptions_per_minute,
        );
        let mut peers = HashMap::new();
        for (name, table) in raw.domains {
            let path = format!("federation.domains.\"{name}\"");
            let Some(domain) = self.domain(&path, &name) else {
                continue;
            };
            if local.contains_key(&domain) {
                self.report(
                    Problem::new(path, format!("{domain} is a local domain, see domains.\"{domain}\""))
                        .cure("a domain is either ours or another organisation's: remove one of the two tables"),
                );
                continue;
            }
            let peer = self.peer(&path, table);
            peers.insert(domain, peer);
        }
        let taken = sip::Taken {
            local,
            xmpp: &peers,
        };
        let addresses = self.sip_addresses(sip.addresses, local);
        let mut sip = self.sip_peers(sip.peer, &taken);
        sip.addresses = Arc::new(addresses);
        Some(FederationPolicy {
            allow_by_default: default == "allow",
            messages_per_second: u32::try_from(messages).ok()?,
            subscriptions_per_minute: u32::try_from(subscriptions).ok()?,
            peers,
            sip,
        })
    }

    fn peer(&mut self, path: &str, raw: RawPeer) -> PeerConfig {
        let tls = match self
            .word(
                &format!("{path}.tls"),
                raw.tls,
                &["required", "optional", "none"],
            )
            .as_str()
        {
            "optional" => PeerTls::Optional,
            "none" => PeerTls::None,
            _ => PeerTls::Required,
        };
        let targets = self.targets(
            &format!("{path}.targets"),
            raw.targets,
            "xmpp.example.com:5269",
        );
        let require_certificate = raw.require_certificate.unwrap_or(false);
        if require_certificate && tls == PeerTls::None {
            self.report(
                Problem::new(
                    format!("{path}.require_certificate"),
                    "needs TLS, but tls is none",
                )
                .cure("set tls = \"required\" or drop require_certificate"),
            );
        }
        PeerConfig {
            allowed: self.word(&format!("{path}.policy"), raw.policy, &["allow", "deny"])
                == "allow",
            tls,
            targets,
            direct_tls: raw.direct_tls.unwrap_or(false),
            require_certificate,
        }
    }

    fn dns_mode(&mut self, path: &str, word: &str) -> DnsMode {
        match word {
            "all" => DnsMode::All,
            "single" => DnsMode::Single,
            other => match other.strip_prefix("subset:") {
                Some(list) if !list.trim().is_empty() => {
                    DnsMode::Subset(list.split(',').map(|name| name.trim().to_owned()).collect())
                }
                _ => {
                    self.report(
                        Problem::new(path, format!("`{other}` is not known"))
                            .cure("write all, single or subset:node1,node2"),
                    );
                    DnsMode::All
                }
            },
        }
    }

    fn dns(&mut self, raw: RawDns) -> DnsConfig {
        let mode = self.dns_mode("dns.mode", raw.mode.as_deref().unwrap_or("all"));
        let private_networks = self.networks("dns.private_networks", raw.private_networks);
        DnsConfig {
            listen: self.listeners("dns.listen", raw.listen, &["[::]:53"]),
            zones: raw.zones.unwrap_or_default(),
            name_servers: raw.name_servers.unwrap_or_default(),
            ttl: self.seconds("dns.ttl_seconds", raw.ttl_seconds),
            mode,
            private_networks,
            responses_per_second: self.number("dns.responses_per_second", raw.responses_per_second)
                as u32,
        }
    }

    fn drain(&mut self, raw: RawDrain, ttl: Duration) -> DrainConfig {
        let dns_wait = match raw.dns_wait_seconds {
            Some(seconds) => self.seconds("drain.dns_wait_seconds", Some(seconds)),
            None => ttl + A_LITTLE,
        };
        let on_stop = self.word("drain.on_stop", raw.on_stop, &["quick", "patient"]);
        DrainConfig {
            dns_wait,
            patient_stop: on_stop == "patient",
            streams_per_second: self.number("drain.streams_per_second", raw.streams_per_second)
                as u32,
        }
    }
}

fn parse_network(text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= most).then_some(Network { address, prefix })
}

/// `host:port`, `1.2.3.4:port` or `[v6]:port`.
pub(crate) fn split_target(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}
