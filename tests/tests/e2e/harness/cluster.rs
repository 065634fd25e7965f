//! A cluster of nodes: one configuration file for all, the environment for what differs.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use entente_cluster::home::key_hash;
use entente_load::{Client, Login};

use super::node::{self, Node};
use super::{Authority, Folder, PASSWORD};

/// What a test says about its cluster.
pub struct Settings {
    pub name: &'static str,
    /// The third number of the addresses 127.61.x.y.
    pub net: u8,
    pub nodes: u8,
    /// With a cluster's keys and ports even for one node.
    pub clustered: bool,
    pub domains: Vec<&'static str>,
    /// More tables for the configuration file. With `[sip]` all nodes do SIP; `ca/sip.pem` and
    /// `ca/sip.key` are a certificate for `sip.` of the first domain and for this itself, for servers
    /// and clients.
    pub extra: String,
}

/// Running nodes.
pub struct Cluster {
    pub nodes: Vec<Arc<Node>>,
    pub authority: Authority,
    pub domain: &'static str,
    pub config: PathBuf,
    pub folder: Folder,
}

impl Cluster {
    /// Starts all nodes and waits until each is ready and sees the others.
    pub async fn start(settings: Settings) -> Self {
        let cluster = Self::prepare(settings);
        for node in &cluster.nodes {
            node.start();
        }
        for node in &cluster.nodes {
            node.ready().await;
        }
        cluster.all_serve().await;
        cluster
    }

    fn prepare(settings: Settings) -> Self {
        let folder = Folder::new(settings.name);
        let authority = Authority::new(&folder.path().join("ca"));
        let config = folder.path().join("entente.toml");
        let mut text = String::new();
        for domain in &settings.domains {
            let issued = authority.issue(domain, &[domain]);
            writeln!(
                text,
                "[domains.\"{domain}\"]\ncertificate_file = {:?}\nprivate_key_file = {:?}",
                issued.certificate, issued.key
            )
            .unwrap();
        }
        let domain = settings.domains[0];
        if settings.clustered {
            let ca = Authority::new(&folder.path().join("cluster"));
            let key = folder.path().join("cluster/key");
            write_key(&key);
            let seeds: Vec<String> = (1..=settings.nodes)
                .map(|n| format!("127.61.{}.{n}:{}", settings.net, node::GOSSIP_PORT))
                .collect();
            writeln!(
                text,
                "[cluster]\nseeds = {seeds:?}\nkey_file = {key:?}\nca_file = {:?}\nca_key_file = {:?}",
                ca.certificate(),
                ca.key()
            )
            .unwrap();
        }
        if settings.extra.contains("[sip]") {
            authority.issue_for_both("sip", &[domain, &format!("sip.{domain}")]);
        }
        text.push_str(&settings.extra);
        std::fs::write(&config, text).unwrap();
        let nodes = (1..=settings.nodes)
            .map(|n| {
                let address = IpAddr::from(Ipv4Addr::new(127, 61, settings.net, n));
                let name = format!("{}-{n}", settings.name);
                let host = format!("n{n}.{domain}");
                let mut environment = vec![
                    ("ENTENTE_NODE_ID".to_owned(), name.clone()),
                    ("ENTENTE_NODE_HOST".to_owned(), host.clone()),
                    (
                        "ENTENTE_NODE_DATA_DIR".to_owned(),
                        folder.path().join(&name).display().to_string(),
                    ),
                    (
                        "ENTENTE_NODE_PUBLIC_ADDRESSES".to_owned(),
                        address.to_string(),
                    ),
                    ("ENTENTE_CLUSTER_LISTEN".to_owned(), address.to_string()),
                    ("ENTENTE_CLUSTER_ADVERTISE".to_owned(), address.to_string()),
                    (
                        "ENTENTE_DNS_RESPONSES_PER_SECOND".to_owned(),
                        "0".to_owned(),
                    ),
                ];
                for (variable, port) in [
                    ("CLIENT_LISTEN", node::CLIENT_PORT),
                    ("CLIENT_DIRECT_TLS_LISTEN", node::CLIENT_TLS_PORT),
                    ("XMPP_LISTEN", node::PEER_PORT),
                    ("XMPP_DIRECT_TLS_LISTEN", node::PEER_TLS_PORT),
                    ("DNS_LISTEN", node::DNS_PORT),
                    ("ADMIN_LISTEN", node::ADMIN_PORT),
                ] {
                    environment.push((format!("ENTENTE_{variable}"), format!("{address}:{port}")));
                }
                if settings.extra.contains("[sip]") {
                    let listen = format!("{address}:{}", super::SIP_TLS_PORT);
                    environment.push(("ENTENTE_SIP_LISTEN".to_owned(), listen));
                }
                for (variable, port) in [
                    ("GOSSIP_PORT", node::GOSSIP_PORT),
                    ("MESH_PORT", node::MESH_PORT),
                    ("STORE_RAFT_PORT", node::RAFT_PORT),
                    ("STORE_API_PORT", node::STORE_PORT),
                ] {
                    environment.push((format!("ENTENTE_CLUSTER_{variable}"), port.to_string()));
                }
                if settings.clustered && n == 1 {
                    environment.push(("ENTENTE_CLUSTER_BOOTSTRAP".to_owned(), "true".to_owned()));
                }
                Arc::new(Node::new(&name, &host, address, &config, environment))
            })
            .collect();
        Self {
            nodes,
            authority,
            domain,
            config,
            folder,
        }
    }

    /// Waits until every running node counts every running node as serving, and no other.
    pub async fn all_serve(&self) {
        let running: Vec<&str> = self
            .nodes
            .iter()
            .filter(|node| node.is_running())
            .map(|node| node.name.as_str())
            .collect();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let what = format!("{} sees {running:?} serving", node.name);
            super::eventually(&what, std::time::Duration::from_secs(30), || async {
                let serving = self.serving(node).await;
                (serving == running).then_some(())
            })
            .await;
        }
    }

    /// The names of the members that `node` counts as serving, sorted.
    pub async fn serving(&self, node: &Node) -> Vec<String> {
        let status = node.status().await;
        let mut names: Vec<String> = status["members"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|member| member["standing"] == "serving" && member["state"] == "ready")
            .map(|member| member["id"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    pub fn first(&self) -> &Arc<Node> {
        &self.nodes[0]
    }

    /// An account.
    pub async fn user(&self, name: &str) -> Login {
        let node = self.nodes.iter().find(|node| node.is_running()).unwrap();
        let login = Login::new(name, self.domain, PASSWORD);
        node.add_user(&login.bare()).await;
        login
    }

    /// An account whose home is `home` as long as all nodes serve.
    pub async fn user_at(&self, home: &Node, name: &str) -> Login {
        let found = (0..1000)
            .map(|n| format!("{name}{n}"))
            .find(|user| self.home_of(&format!("{user}@{}", self.domain)).name == home.name);
        self.user(&found.unwrap()).await
    }

    /// The home of a bare JID while all nodes serve.
    pub fn home_of(&self, bare: &str) -> &Arc<Node> {
        let hash = key_hash(bare);
        self.nodes
            .iter()
            .max_by_key(|node| weight(key_hash(&node.name) ^ hash))
            .unwrap()
    }

    /// A bound session at the first node, without presence.
    pub async fn session(&self, login: &Login) -> Client {
        session_at(self.first(), login).await
    }

    /// A session at the first node that is available, its own presence back.
    pub async fn online(&self, login: &Login) -> Client {
        online_at(self.first(), login).await
    }

    pub fn faults(&self) -> Vec<String> {
        self.nodes.iter().flat_map(|node| node.faults()).collect()
    }

    pub fn evidence(&self) -> String {
        self.nodes
            .iter()
            .map(|node| node.evidence())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

pub async fn session_at(node: &Node, login: &Login) -> Client {
    Client::session(&node.clients(), login)
        .await
        .unwrap_or_else(|error| panic!("{login:?} at {}: {error}", node.name))
}

pub async fn online_at(node: &Node, login: &Login) -> Client {
    let mut client = session_at(node, login).await;
    // What clients do: without it a session is not 'interested' and hears of no answers to its
    // subscription requests (RFC 6121 section 2.2).
    client
        .iq(
            "get",
            "",
            "<query xmlns='jabber:iq:roster'/>",
            super::PATIENCE,
        )
        .await
        .unwrap();
    client.send("<presence/>").await.unwrap();
    let own = client.jid().to_owned();
    client
        .expect(super::PATIENCE, |s| {
            s.is("presence") && s.attr("from").as_deref() == Some(&own)
        })
        .await
        .unwrap();
    client
}

/// The weight of rendezvous hashing, written down once more: it is part of the protocol between
/// nodes.
fn weight(mut x: u64) -> u64 {
    x ^= x >> 32;
    x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbb67_ae85_84ca_a73b);
    x ^= x >> 32;
    x
}

fn write_key(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let key: [u8; 32] = rand::random();
    std::fs::write(
        path,
        key.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    )
    .unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
