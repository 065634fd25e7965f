//! The node's parts as the configuration wants them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use entente_cluster::forward::{Mesh, MeshConfig, MeshLimits};
use entente_cluster::{MemberFacts, MemberState, MembershipConfig, MembershipHandle};
use entente_home_core::{HomeConfig, Limits, Software};
use entente_store::Store;
use entente_xmpp_core::sasl::{DecoySecret, Mechanism};
use entente_xmpp_core::stream::ClientConfig as ClientStreamConfig;
use tokio::sync::{mpsc, watch};

use super::AppError;
use crate::client::{ClientService, Resumable, ResumptionSeal, SessionLimits};
use crate::config::Config;
use crate::fabric::{Connections, Switchboard, follow, shard, store_worker, stored};
use crate::net::Admission;
use crate::secrets::Secrets;
use crate::tls::DomainCertificates;

pub(super) fn membership_config(
    config: &Config,
    secrets: &Secrets,
    address: IpAddr,
) -> MembershipConfig {
    let cluster = &config.cluster;
    let mut membership = MembershipConfig::new(
        config.node.id.clone(),
        cluster.name.clone(),
        SocketAddr::new(cluster.listen, cluster.gossip_port),
        secrets.gossip,
        config.node.data_dir.clone(),
    );
    membership.gossip_advertise = Some(SocketAddr::new(address, cluster.gossip_port));
    membership.seeds.clone_from(&cluster.seeds);
    membership
}

pub(super) fn facts(config: &Config, address: IpAddr, now: SystemTime) -> MemberFacts {
    MemberFacts {
        roles: config.node.roles,
        state: MemberState::Joining,
        mesh: SocketAddr::new(address, config.cluster.mesh_port),
        public: config.node.public_addresses.clone(),
        private: config.node.private_addresses.clone(),
        host: entente_xmpp_core::jid::domain_to_ascii(&config.node.host)
            .map_or_else(|_| config.node.host.clone(), |name| name.into_owned()),
        started: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        announcement: String::new(),
    }
}

pub(super) fn home_config(
    config: &Config,
    membership: &MembershipHandle,
    shard: usize,
    started: Instant,
) -> HomeConfig {
    let mut seed = [0; 8];
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed).is_err() {
        tracing::error!("the system gives no random bytes; generated resources can be guessed");
    }
    let software = Software {
        name: "Entente".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    HomeConfig {
        local_domains: config.domains.keys().cloned().collect(),
        software,
        node: Arc::from(config.node.id.as_str()),
        epoch: membership.generation,
        shard: shard as u32,
        delivery_base: shard::delivery_base(config.node.id.as_str(), shard, membership.generation),
        seed: u64::from_be_bytes(seed),
        started,
        limits: Limits {
            sessions_per_user: config.limits.sessions_per_user as usize,
            roster_entries: config.limits.roster_items as usize,
            offline_messages: u64::from(config.limits.offline_messages),
            repeats: config.limits.repeats,
            repeat_window: config.limits.repeat_window,
            ..Limits::default()
        },
    }
}

pub(super) fn start_homes(
    config: &Config,
    membership: &MembershipHandle,
    store: &Store,
    started: Instant,
    stopped: watch::Receiver<bool>,
) -> Arc<Switchboard> {
    let count = shard::shard_count();
    let (lanes, inputs): (Vec<_>, Vec<_>) = (0..count).map(|_| shard::lanes()).unzip();
    let connections = Arc::new(Connections::new(
        Arc::from(config.node.id.as_str()),
        membership.generation,
    ));
    let switchboard = Switchboard::new(
        connections,
        Arc::clone(&membership.local_fence),
        membership.view(),
        config.domains.keys().cloned(),
        lanes.clone(),
    );
    for (index, (inputs, lanes)) in inputs.into_iter().zip(lanes).enumerate() {
        let (jobs, queue) = store_worker::queue();
        tokio::spawn(store_worker::serve(
            store.clone(),
            membership.view(),
            queue,
            lanes.inner.clone(),
        ));
        let home = home_config(config, membership, index, started);
        let driver = shard::ShardDriver::new(
            home,
            inputs,
            Arc::clone(&switchboard),
            jobs,
            stopped.clone(),
        );
        tokio::spawn(driver.run());
    }
    tokio::spawn(stored::watch(store.clone(), Arc::clone(&switchboard)));
    switchboard
}

pub(super) async fn start_mesh(
    config: &Config,
    secrets: &Secrets,
    membership: &Arc<MembershipHandle>,
    switchboard: &Arc<Switchboard>,
    store: &Store,
) -> Result<Mesh, AppError> {
    let mesh_config = MeshConfig {
        local: config.node.id.clone(),
        generation: membership.generation,
        listen: SocketAddr::new(config.cluster.listen, config.cluster.mesh_port),
        identity: secrets.mesh.clone(),
        limits: MeshLimits::default(),
    };
    let handler = Arc::new(follow::NodeSide {
        membership: Arc::clone(membership),
        switchboard: Arc::clone(switchboard),
        store: store.clone(),
    });
    let (mesh, inbound): (Mesh, mpsc::Receiver<_>) =
        Mesh::start(mesh_config, membership.view(), handler).await?;
    switchboard.connect_mesh(mesh.clone());
    tokio::spawn(follow::frames(Arc::clone(switchboard), inbound));
    tokio::spawn(follow::lost_edges(
        Arc::clone(switchboard),
        membership.view(),
    ));
    Ok(mesh)
}

pub(super) fn client_service(
    config: &Config,
    secrets: &Secrets,
    switchboard: &Arc<Switchboard>,
    store: &Store,
    certificates: &DomainCertificates,
) -> Arc<ClientService> {
    let domains = config
        .domains
        .keys()
        .map(|name| Arc::from(name.as_str()))
        .collect();
    let mut stream = ClientStreamConfig::new(domains, DecoySecret::new(&secrets.decoys));
    stream.require_tls = config.client.require_tls;
    if !config.client.plain {
        stream
            .mechanisms
            .retain(|mechanism| *mechanism != Mechanism::Plain);
    }
    stream.limits.bytes = config.client.max_stanza_bytes;
    stream.idle_timeout = config.client.idle;
    stream.probe_after = config.client.idle / 2;
    stream.resumption = config.client.resume;
    Arc::new(ClientService {
        stream: Arc::new(stream),
        switchboard: Arc::clone(switchboard),
        store: store.clone(),
        certificates: certificates.clone(),
        admission: Admission::new(
            config.client.max_connections,
            config.client.max_unauthenticated_per_address,
        ),
        resumable: Resumable::default(),
        resumption_ids: ResumptionSeal::new(&secrets.resumption),
        session: SessionLimits {
            custody_stanzas: config.limits.custody_stanzas,
            repeat_window: config.limits.repeat_window,
        },
        random: ring::rand::SystemRandom::new(),
    })
}
