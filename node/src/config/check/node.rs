//! The checks of `node` and `cluster`: who the node is, and how it meets the others.

use std::net::IpAddr;

use entente_cluster::{NodeId, Roles};

use super::{Check, split_target};
use crate::config::problem::Problem;
use crate::config::raw::{RawCluster, RawNode};
use crate::config::types::{ClusterConfig, ClusterSecrets, NodeConfig, NodeIdentity};

impl Check<'_> {
    pub(super) fn node(&mut self, raw: RawNode, sip_is_on: bool) -> Option<NodeConfig> {
        let id = match raw.id.filter(|id| !id.is_empty()).or_else(host_name) {
            Some(id) => id,
            None => {
                self.report(
                    Problem::new("node.id", "is missing and the machine has no host name")
                        .cure("set ENTENTE_NODE_ID"),
                );
                return None;
            }
        };
        let roles = self.roles(raw.roles, sip_is_on);
        let host = raw
            .host
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| id.clone());
        let host = self.domain("node.host", &host)?;
        let id = match NodeId::new(&id) {
            Ok(id) => id,
            Err(_) => {
                self.report(
                    Problem::new("node.id", format!("`{id}` is not a node name"))
                        .cure("use 1 to 63 letters, digits and hyphens (a DNS label)"),
                );
                return None;
            }
        };
        Some(NodeConfig {
            id,
            host,
            data_dir: self.base.join(
                raw.data_dir
                    .unwrap_or_else(|| "/var/lib/entente".to_owned()),
            ),
            public_addresses: self.ip_list("node.public_addresses", raw.public_addresses),
            private_addresses: self.ip_list("node.private_addresses", raw.private_addresses),
            roles,
            threads: self.size("node.threads", raw.threads),
        })
    }

    /// The role `sip` counts only where SIP is on: a default that opens no port.
    fn roles(&mut self, list: Option<Vec<String>>, sip_is_on: bool) -> Roles {
        let said = list.is_some();
        let list = list.unwrap_or_else(|| {
            ["home", "client", "xmpp", "sip", "dns"]
                .map(str::to_owned)
                .to_vec()
        });
        let mut roles = Roles::NONE;
        for word in &list {
            match word.as_str() {
                "home" => roles = roles | Roles::HOME,
                "client" => roles = roles | Roles::CLIENT,
                "xmpp" => roles = roles | Roles::XMPP,
                "dns" => roles = roles | Roles::DNS,
                "sip" if sip_is_on => roles = roles | Roles::SIP,
                "sip" if said => self.report(
                    Problem::new("node.roles", "names sip, but sip.listen is empty")
                        .cure("set sip.listen = [\"[::]:5061\"], or drop the role"),
                ),
                "sip" => {}
                other => self.report(
                    Problem::new("node.roles", format!("`{other}` is no role"))
                        .cure("use home, client, xmpp, sip, dns"),
                ),
            }
        }
        roles
    }

    pub(super) fn cluster(&mut self, raw: RawCluster) -> Option<ClusterConfig> {
        let seeds = raw.seeds.clone().unwrap_or_default();
        for seed in &seeds {
            if split_target(seed).is_none() {
                self.report(
                    Problem::new("cluster.seeds", format!("`{seed}` is not host:port"))
                        .cure("write node1.example.com:7946"),
                );
            }
        }
        let bootstrap = raw.bootstrap.unwrap_or(false);
        let wants_secrets =
            raw.key_file.is_some() || raw.ca_file.is_some() || !seeds.is_empty() || bootstrap;
        let secrets = if wants_secrets {
            Some(self.cluster_secrets(&raw)?)
        } else {
            None
        };
        let listen_text = raw.listen.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let listen = listen_text.parse().unwrap_or_else(|_| {
            self.report(
                Problem::new(
                    "cluster.listen",
                    format!("`{listen_text}` is not an IP address"),
                )
                .cure("write 0.0.0.0 or an address of this machine"),
            );
            IpAddr::from([127, 0, 0, 1])
        });
        Some(ClusterConfig {
            name: raw.name.clone().unwrap_or_else(|| "entente".to_owned()),
            seeds,
            bootstrap,
            advertise: raw.advertise.clone().filter(|text| !text.is_empty()),
            listen,
            gossip_port: self.port("cluster.gossip_port", raw.gossip_port),
            mesh_port: self.port("cluster.mesh_port", raw.mesh_port),
            store_raft_port: self.port("cluster.store_raft_port", raw.store_raft_port),
            store_api_port: self.port("cluster.store_api_port", raw.store_api_port),
            secrets,
        })
    }

    fn cluster_secrets(&mut self, raw: &RawCluster) -> Option<ClusterSecrets> {
        let key_file = self.file("cluster.key_file", raw.key_file.clone(), true);
        let ca_file = self.file("cluster.ca_file", raw.ca_file.clone(), false);
        let identity = if raw.certificate_file.is_none() && raw.ca_key_file.is_some() {
            NodeIdentity::Issued {
                ca_key_file: self.file("cluster.ca_key_file", raw.ca_key_file.clone(), true)?,
            }
        } else {
            let certificate = self.file(
                "cluster.certificate_file",
                raw.certificate_file.clone(),
                false,
            );
            let key = self.file(
                "cluster.private_key_file",
                raw.private_key_file.clone(),
                true,
            );
            NodeIdentity::Files {
                certificate_file: certificate?,
                private_key_file: key?,
            }
        };
        Some(ClusterSecrets {
            key_file: key_file?,
            ca_file: ca_file?,
            identity,
        })
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let label = name.trim().split('.').next()?.to_ascii_lowercase();
    (!label.is_empty()).then_some(label)
}
