//! The checks of `sip`: the manager's settings, and its peers with the rule that an external domain
//! has one protocol (F4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use entente_interwork_core::address::AddressMap;
use entente_xmpp_core::jid::BareJid;

use super::Check;
use crate::config::problem::Problem;
use crate::config::raw::{RawSip, RawSipPeer};
use crate::config::sip::{
    SipConfig, SipIdentityFiles, SipPeerConfig, SipPeers, SipProfile, SipTransport,
};
use crate::config::types::{DomainConfig, PeerConfig, XmppConfig};

/// Domains that are spoken for already.
pub(super) struct Taken<'a> {
    /// Ours.
    pub(super) local: &'a BTreeMap<String, DomainConfig>,
    /// Those with an entry in `federation.domains`.
    pub(super) xmpp: &'a std::collections::HashMap<String, PeerConfig>,
}

impl Check<'_> {
    pub(super) fn sip(&mut self, raw: &RawSip, xmpp: &XmppConfig) -> SipConfig {
        let listen = self.listeners("sip.listen", raw.listen.clone(), &[]);
        let tcp_listen = self.listeners("sip.tcp_listen", raw.tcp_listen.clone(), &[]);
        let on = !listen.is_empty() || !tcp_listen.is_empty();
        let host = raw.host.clone().filter(|host| !host.is_empty());
        if on && host.is_none() {
            self.report(Problem::new("sip.host", "is missing").cure(
                "name the host under which peers reach the nodes with SIP, like sip.example.com",
            ));
        }
        if !on && !raw.peer.is_empty() {
            self.report(
                Problem::new("sip.listen", "is empty, but there are peers in sip.peer")
                    .cure("set sip.listen = [\"[::]:5061\"], or remove the peers"),
            );
        }
        let host = host
            .and_then(|host| self.host("sip.host", &host))
            .unwrap_or_default();
        SipConfig {
            listen,
            tcp_listen,
            host,
            public_port: self.port("sip.public_port", raw.public_port),
            identity: self.sip_identity(raw),
            trusted_ca_file: match raw.trusted_ca_file.as_deref() {
                None | Some("") => xmpp.trusted_ca_file.clone(),
                Some(name) => self.file("sip.trusted_ca_file", Some(name.to_owned()), false),
            },
            max_message_bytes: self.size("sip.max_message_bytes", raw.max_message_bytes),
            connect_timeout: self.seconds("sip.connect_seconds", raw.connect_seconds),
            queue_requests: self.size("sip.queue_requests", raw.queue_requests),
            idle: self.seconds("sip.idle_seconds", raw.idle_seconds),
            probe_after: Some(self.seconds("sip.probe_seconds", raw.probe_seconds))
                .filter(|after| *after > Duration::ZERO),
            max_connections: self.size("sip.max_connections", raw.max_connections),
            max_unauthenticated_per_address: self.size(
                "sip.max_unauthenticated_per_address",
                raw.max_unauthenticated_per_address,
            ),
            proxy_networks: self.networks("sip.proxy_networks", raw.proxy_networks.clone()),
            dns_mode: raw
                .dns_mode
                .as_deref()
                .map(|word| self.dns_mode("sip.dns_mode", word)),
        }
    }

    fn sip_identity(&mut self, raw: &RawSip) -> Option<SipIdentityFiles> {
        if raw.certificate_file.is_none() && raw.private_key_file.is_none() {
            return None;
        }
        let certificate = self.file("sip.certificate_file", raw.certificate_file.clone(), false);
        let key = self.file("sip.private_key_file", raw.private_key_file.clone(), true);
        Some(SipIdentityFiles {
            certificate_file: certificate?,
            private_key_file: key?,
        })
    }

    /// All peers. Every domain has one place: nothing here may be ours, another peer's, or XMPP's.
    pub(super) fn sip_peers(
        &mut self,
        raw: BTreeMap<String, RawSipPeer>,
        taken: &Taken<'_>,
    ) -> SipPeers {
        let mut peers = SipPeers::default();
        for (name, table) in raw {
            let path = format!("sip.peer.{name}");
            let is_other = table.other_domains.unwrap_or(false);
            let peer = Arc::new(self.sip_peer(&path, &name, table));
            if peer.domains.is_empty() && !is_other {
                self.report(
                    Problem::new(&path, "serves no domain")
                        .cure("list its domains, or say other_domains = true for a clearing house"),
                );
            }
            for domain in &peer.domains {
                if self.is_free(&path, domain, taken, &peers) {
                    peers.by_domain.insert(domain.clone(), Arc::clone(&peer));
                }
            }
            if is_other {
                if let Some(first) = &peers.other {
                    self.report(
                        Problem::new(
                            format!("{path}.other_domains"),
                            format!("sip.peer.{} serves the other domains too", first.name),
                        )
                        .cure("one clearing house only: remove one of the two"),
                    );
                }
                peers.other = Some(Arc::clone(&peer));
            }
            peers.peers.insert(name, peer);
        }
        peers
    }

    /// Whether `domain` can be this peer's; the problem names both places.
    fn is_free(&mut self, path: &str, domain: &str, taken: &Taken<'_>, peers: &SipPeers) -> bool {
        let key = format!("{path}.domains");
        let problem = if taken.local.contains_key(domain) {
            Problem::new(
                key,
                format!("{domain} is a local domain, see domains.\"{domain}\""),
            )
            .cure(
                "a domain is either ours or another organisation's: remove it from one of the two",
            )
        } else if taken.xmpp.contains_key(domain) {
            Problem::new(
                key,
                format!("{domain} is also in federation.domains.\"{domain}\": an external domain has one protocol, SIP or XMPP"),
            )
            .cure(format!("remove {domain} from {path}.domains, or the table federation.domains.\"{domain}\""))
        } else if let Some(other) = peers.by_domain.get(domain) {
            Problem::new(
                key,
                format!("{domain} is also in sip.peer.{}.domains", other.name),
            )
            .cure("remove it from one of the two")
        } else {
            return true;
        };
        self.report(problem);
        false
    }

    fn sip_peer(&mut self, path: &str, name: &str, raw: RawSipPeer) -> SipPeerConfig {
        let profile = self.word(
            &format!("{path}.profile"),
            raw.profile,
            &["simple", "ocs", "lync", "office365", "aol"],
        );
        let profile = SipProfile::named(&profile);
        let transport = match self
            .word(&format!("{path}.transport"), raw.transport, &["tls", "tcp"])
            .as_str()
        {
            "tcp" => SipTransport::Tcp,
            _ => SipTransport::Tls,
        };
        let targets = self.targets(
            &format!("{path}.targets"),
            raw.targets,
            "sip.example.com:5061",
        );
        if transport == SipTransport::Tcp
            && (targets.is_empty()
                || targets
                    .iter()
                    .any(|(host, _)| host.parse::<IpAddr>().is_err()))
        {
            self.report(
                Problem::new(
                    format!("{path}.targets"),
                    "must be IP addresses where transport is tcp: nothing else tells who the peer is",
                )
                .cure("write [\"192.0.2.7:5060\"], or use transport = \"tls\""),
            );
        }
        let tls_subjects: Vec<String> = raw
            .tls_subjects
            .unwrap_or_default()
            .iter()
            .map(|subject| subject.trim().to_ascii_lowercase())
            .collect();
        let allow_common_name = raw.allow_common_name.unwrap_or(false);
        if allow_common_name && tls_subjects.is_empty() {
            self.report(
                Problem::new(
                    format!("{path}.allow_common_name"),
                    "needs tls_subjects: a common name alone proves no domain",
                )
                .cure("write the common name into tls_subjects"),
            );
        }
        let domains: Vec<String> = raw
            .domains
            .unwrap_or_default()
            .iter()
            .filter_map(|domain| self.domain(&format!("{path}.domains"), domain))
            .collect();
        SipPeerConfig {
            name: Arc::from(name),
            aliases: self.aliases(path, raw.aliases, &domains),
            domains,
            targets,
            transport,
            profile,
            tls_subjects,
            allow_common_name,
            requests_per_second: self.number_at(
                &format!("{path}.requests_per_second"),
                "sip.peer.*.requests_per_second",
                raw.requests_per_second,
            ) as u32,
            one_node: raw.one_node.unwrap_or(false) || profile == SipProfile::Aol,
        }
    }

    /// Each entry names a user and the address that SIP peers know it by; both in domains of ours, for
    /// which there are records and certificates.
    pub(super) fn sip_addresses(
        &mut self,
        list: Option<Vec<String>>,
        local: &BTreeMap<String, DomainConfig>,
    ) -> AddressMap {
        const KEY: &str = "sip.addresses";
        let mut pairs = Vec::new();
        for text in list.unwrap_or_default() {
            let user = |part: &str| {
                BareJid::new(part.trim())
                    .ok()
                    .filter(|jid| jid.node().is_some())
            };
            let parts = text.split_once('=');
            let Some((jid, address)) = parts.and_then(|(a, b)| Some((user(a)?, user(b)?))) else {
                self.report(
                    Problem::new(KEY, format!("`{text}` is not user@domain=address@domain"))
                        .cure("write jsmith@imp.example.com=john.smith@example.com"),
                );
                continue;
            };
            for part in [&jid, &address] {
                if !local.contains_key(part.domain()) {
                    self.report(
                        Problem::new(
                            KEY,
                            format!("{} of {part} is not a local domain", part.domain()),
                        )
                        .cure(format!("add the table domains.\"{}\"", part.domain())),
                    );
                }
            }
            pairs.push((jid, address));
        }
        AddressMap::new(pairs).unwrap_or_else(|fault| {
            self.report(
                Problem::new(KEY, fault.to_string())
                    .cure("give each user one address, and each address to one user"),
            );
            AddressMap::default()
        })
    }

    fn aliases(
        &mut self,
        path: &str,
        list: Option<Vec<String>>,
        domains: &[String],
    ) -> BTreeMap<String, String> {
        let key = format!("{path}.aliases");
        let mut aliases = BTreeMap::new();
        for text in list.unwrap_or_default() {
            let Some((alias, domain)) = text.split_once('=') else {
                self.report(
                    Problem::new(&key, format!("`{text}` is not alias=domain"))
                        .cure("write aim.com=aol.com"),
                );
                continue;
            };
            let (Some(alias), Some(domain)) = (
                self.domain(&key, alias.trim()),
                self.domain(&key, domain.trim()),
            ) else {
                continue;
            };
            for part in [&alias, &domain] {
                if !domains.contains(part) {
                    self.report(
                        Problem::new(&key, format!("{part} is not in {path}.domains"))
                            .cure("list both names of the domain in domains"),
                    );
                }
            }
            aliases.insert(alias, domain);
        }
        aliases
    }
}
