//! The only place that names all subsystems: builds them in order, connects them, takes them down.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use entente_cluster::forward::{Mesh, MeshConfig, MeshLimits};
use entente_cluster::{
    MemberFacts, MemberState, Membership, MembershipConfig, MembershipHandle, Roles,
};
use entente_home_core::{HomeConfig, Limits, Software};
use entente_store::Store;
use entente_xmpp_core::sasl::{DecoySecret, Mechanism};
use entente_xmpp_core::stream::ClientConfig as ClientStreamConfig;
use tokio::sync::{mpsc, watch};

use crate::admin::{Admin, AdminState};
use crate::client::{ClientService, Resumable, SessionLimits};
use crate::clock::{now, wall};
use crate::config::Config;
use crate::dns::Dns;
use crate::drain::{self, Drain, Manner};
use crate::fabric::{Connections, Item, Switchboard, follow, shard, store_worker, stored};
use crate::gateway::{GatewayParts, Gateways};
use crate::net::Admission;
use crate::phase::{Phase, PhaseControl};
use crate::secrets::Secrets;
use crate::sip::{SipParts, SipService};
use crate::tls::{DomainCertificates, PeerTrust, SipCertificates, proof};
use crate::xmpp::XmppService;
use crate::{lease, secrets, storage};

/// How long frames for other nodes may take to leave, on a stop.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the others get to hear that this node leaves.
const LEAVE: Duration = Duration::from_secs(3);
/// How long the store may take to close.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// Why a node could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    #[error(transparent)]
    Secrets(#[from] secrets::SecretsError),
    #[error("membership: {0}")]
    Membership(#[from] entente_cluster::MembershipError),
    #[error("membership: {0}")]
    Facts(#[from] entente_cluster::membership::FactsError),
    #[error("the store in {}: {source}", path.display())]
    Store {
        path: PathBuf,
        source: entente_store::StoreError,
    },
    #[error("mesh: {0}")]
    Mesh(#[from] entente_cluster::forward::MeshError),
    #[error(transparent)]
    Listen(#[from] crate::net::listen::ListenError),
    #[error(transparent)]
    Publish(#[from] crate::dns::PublishError),
    #[error("admin.listen: {0}")]
    Admin(std::io::Error),
    #[error(
        "cluster.advertise: `{0}` has no address; set it to an address or a name of this machine that the other nodes can reach"
    )]
    Advertise(String),
    #[error("{}: {source}", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("xmpp: {0}")]
    Xmpp(#[from] crate::xmpp::XmppError),
    #[error("sip: {0}")]
    Sip(#[from] crate::sip::SipError),
    #[error("the SIP gateway: {0}")]
    Gateway(#[from] crate::gateway::NoRandomness),
}

/// A running node.
pub(crate) struct App {
    config: Config,
    membership: Arc<MembershipHandle>,
    mesh: Mesh,
    store: Store,
    switchboard: Arc<Switchboard>,
    phase: PhaseControl,
    drain: Drain,
    certificates: DomainCertificates,
    trust: PeerTrust,
    xmpp: Arc<XmppService>,
    sip: Option<Sip>,
    stop: watch::Sender<bool>,
    facts: MemberFacts,
    files: secrets::IdentityFiles,
    started: Instant,
}

impl App {
    /// Builds and starts all parts. When this returns the node serves.
    pub(crate) async fn start(config: Config) -> Result<Self, AppError> {
        let started = now();
        std::fs::create_dir_all(&config.node.data_dir).map_err(|source| AppError::Folder {
            path: config.node.data_dir.clone(),
            source,
        })?;
        let advertise = advertise(&config)?;
        let secrets = Secrets::load(&config, &advertise.0, wall())?;
        let certificates = DomainCertificates::load(&config.domains)?;
        let trust = PeerTrust::new(proof::load_anchors(config.xmpp.trusted_ca_file.as_deref())?);
        probe_listeners(&config)?;

        let membership = Arc::new(Membership::start(membership_config(
            &config,
            &secrets,
            advertise.1,
        ))?);
        let facts = facts(&config, advertise.1, wall());
        membership.publish(facts.clone())?;
        let phase = PhaseControl::start(Arc::clone(&membership.local_fence));

        let store = storage::open(&config, &secrets, &advertise.0, &membership).await?;
        tokio::spawn(lease::renew(store.clone(), Arc::clone(&membership)));
        tokio::spawn(lease::read(store.clone(), Arc::clone(&membership)));
        tokio::spawn(storage::look_after_voters(
            store.clone(),
            Arc::clone(&membership),
        ));

        let (stop, stopped) = watch::channel(false);
        let switchboard = start_homes(&config, &membership, &store, started, stopped);
        let mesh = start_mesh(&config, &secrets, &membership, &switchboard, &store).await?;

        let xmpp = XmppService::new(
            &config.xmpp,
            Arc::clone(&config.federation),
            config.domains.keys().cloned().collect(),
            Arc::clone(&switchboard),
            certificates.clone(),
            trust.clone(),
            secrets.dialback,
            home_config(&config, &membership, 0, started),
        )?;
        switchboard.connect_outbound(Arc::clone(&xmpp) as Arc<dyn crate::fabric::OutboundSink>);
        if config.node.roles.contains(Roles::XMPP) {
            for &address in &config.xmpp.listen {
                tokio::spawn(Arc::clone(&xmpp).listen(address, false, phase.open()));
            }
            for &address in &config.xmpp.direct_tls_listen {
                tokio::spawn(Arc::clone(&xmpp).listen(address, true, phase.open()));
            }
        }
        let sip = start_sip(&config, &secrets, &membership, &switchboard, &store)?;
        if let Some(sip) = sip
            .as_ref()
            .filter(|_| config.node.roles.contains(Roles::SIP))
        {
            for &address in &config.sip.listen {
                tokio::spawn(Arc::clone(&sip.service).listen(address, true, phase.open()));
            }
            for &address in &config.sip.tcp_listen {
                tokio::spawn(Arc::clone(&sip.service).listen(address, false, phase.open()));
            }
        }
        let clients = client_service(&config, &secrets, &switchboard, &store, &certificates);
        if config.node.roles.contains(Roles::CLIENT) {
            for &address in &config.client.listen {
                tokio::spawn(Arc::clone(&clients).listen(address, false, phase.open()));
            }
            for &address in &config.client.direct_tls_listen {
                tokio::spawn(Arc::clone(&clients).listen(address, true, phase.open()));
            }
        }
        let isolated = isolated(phase.phase());
        let dns = Arc::new(Dns::start(&config, &membership, isolated)?);
        let parts = drain::Parts {
            membership: Arc::clone(&membership),
            phase: phase.clone(),
            connections: Arc::clone(&switchboard.connections),
            xmpp: Arc::clone(&xmpp),
            sip: sip.as_ref().map(|sip| Arc::clone(&sip.service)),
            gateways: sip.as_ref().map(|sip| Arc::clone(&sip.gateways)),
            dns: Arc::clone(&dns),
        };
        let drain = Drain::start(&config.drain, parts);

        let app = Self {
            facts: MemberFacts {
                state: MemberState::Ready,
                ..facts
            },
            files: secrets.files,
            config,
            membership,
            mesh,
            store,
            switchboard,
            phase,
            drain,
            certificates,
            trust,
            xmpp,
            sip,
            stop,
            started,
        };
        app.until_leased().await;
        app.phase.started();
        app.until_open().await;
        // Only now others may count on this node, and DNS may name it.
        app.membership.publish(app.facts.clone())?;
        tokio::spawn(close_when_isolated(
            app.phase.phase(),
            Arc::clone(&app.switchboard.connections),
        ));
        app.start_admin(dns, clients).await?;
        Ok(app)
    }

    /// The first renewal of the lease: before it nothing may be acknowledged.
    async fn until_leased(&self) {
        while !self.membership.local_fence.may_ack(now()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_open(&self) {
        let mut phase = self.phase.phase();
        let _stopping = phase.wait_for(|phase| *phase == Phase::Serving).await;
        self.self_check().await;
    }

    /// Connects to each of the node's own listeners: a node is announced when it can be reached.
    async fn self_check(&self) {
        let roles = self.config.node.roles;
        let mut addresses: Vec<&SocketAddr> = Vec::new();
        if roles.contains(Roles::CLIENT) {
            addresses.extend(
                self.config
                    .client
                    .listen
                    .iter()
                    .chain(&self.config.client.direct_tls_listen),
            );
        }
        if roles.contains(Roles::XMPP) {
            addresses.extend(
                self.config
                    .xmpp
                    .listen
                    .iter()
                    .chain(&self.config.xmpp.direct_tls_listen),
            );
        }
        if roles.contains(Roles::SIP) {
            addresses.extend(
                self.config
                    .sip
                    .listen
                    .iter()
                    .chain(&self.config.sip.tcp_listen),
            );
        }
        for address in addresses {
            let mut target = *address;
            if target.ip().is_unspecified() {
                target.set_ip(IpAddr::from([127, 0, 0, 1]));
            }
            while tokio::net::TcpStream::connect(target).await.is_err() {
                tracing::debug!(%target, "the self-check waits for a listener");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn start_admin(
        &self,
        dns: Arc<Dns>,
        clients: Arc<ClientService>,
    ) -> Result<(), AppError> {
        let state = AdminState {
            node: self.config.node.id.clone(),
            domains: self.config.domains.keys().cloned().collect(),
            data_dir: self.config.node.data_dir.clone(),
            membership: Arc::clone(&self.membership),
            mesh: self.mesh.clone(),
            store: self.store.clone(),
            switchboard: Arc::clone(&self.switchboard),
            phase: self.phase.clone(),
            drain: self.drain.clone(),
            xmpp: Arc::clone(&self.xmpp),
            sip: self.sip.as_ref().map(|sip| Arc::clone(&sip.service)),
            clients,
            dns,
            certificates: self
                .config
                .domains
                .iter()
                .map(|(name, domain)| (name.clone(), domain.certificate_file.clone()))
                .collect(),
            started: self.started,
        };
        Admin::start(
            state,
            self.config.admin.listen,
            self.config.admin.health_listen,
        )
        .await
        .map_err(AppError::Admin)
    }

    /// Serves until a signal says otherwise.
    pub(crate) async fn serve(
        &self,
        reload: impl Fn() -> Option<Config>,
    ) -> Result<(), std::io::Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => if let Some(config) = reload() { self.reload(&config) },
            }
        }
    }

    /// SIGHUP: certificates, domain policies, log level. What can't be read stays as it was.
    fn reload(&self, config: &Config) {
        if let Err(error) = self.certificates.reload(&config.domains) {
            tracing::error!(%error, "certificates were not reloaded; the old ones stay");
        }
        match proof::load_anchors(config.xmpp.trusted_ca_file.as_deref()) {
            Ok(anchors) => self.trust.replace(anchors),
            Err(error) => {
                tracing::error!(%error, "trusted CAs were not reloaded; the old ones stay")
            }
        }
        match secrets::mesh_identity(&self.files, self.config.node.id.as_str()) {
            Ok(identity) => {
                if let Err(error) = self.mesh.reload(identity) {
                    tracing::error!(%error, "the node's certificate was not reloaded; the old one stays");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the node's certificate was not reloaded; the old one stays")
            }
        }
        self.xmpp.set_policy(Arc::clone(&config.federation));
        if let Some(sip) = &self.sip {
            sip.reload(config);
        }
        crate::logging::set_level(&config.log.level);
        tracing::info!("reloaded: certificates, trusted CAs, federation policy, log level");
    }

    /// Takes the node down: out of DNS, users handed over, clients and peers closed in order, unless a
    /// drain has done so; then the links to the other nodes. Every step has its bound, so a stop is
    /// bounded by their sum.
    pub(crate) async fn stop(self) {
        tracing::info!("stopping");
        let manner = if self.config.drain.patient_stop {
            Manner::Patient
        } else {
            Manner::Quick
        };
        self.drain.begin(manner).await;
        tokio::select! {
            () = self.drain.drained() => {}
            () = impatience() => {
                self.drain.begin(Manner::Quick).await;
                self.drain.drained().await;
            }
        }
        self.mesh.flush(FLUSH).await;
        if tokio::time::timeout(LEAVE, self.membership.leave())
            .await
            .is_err()
        {
            tracing::warn!("the other nodes may not have heard that this one leaves");
        }
        self.stop.send_replace(true);
        self.mesh.shutdown().await;
        if let Ok(Err(error)) = tokio::time::timeout(STORE_PATIENCE, self.store.shutdown()).await {
            tracing::warn!(%error, "the store did not close cleanly");
        }
        tracing::info!("stopped");
    }
}

/// A second signal to stop.
async fn impatience() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// SIP federation, where it is on.
struct Sip {
    service: Arc<SipService>,
    gateways: Arc<Gateways>,
    trust: PeerTrust,
}

impl Sip {
    /// SIGHUP: as for XMPP.
    fn reload(&self, config: &Config) {
        match proof::load_anchors(config.sip.trusted_ca_file.as_deref()) {
            Ok(anchors) => self.trust.replace(anchors),
            Err(error) => {
                tracing::error!(%error, "trusted CAs of SIP were not reloaded; the old ones stay")
            }
        }
        if let Err(error) = self.service.reload(&config.sip, &config.domains) {
            tracing::error!(%error, "certificates of SIP were not reloaded; the old ones stay");
        }
        self.service.set_policy(Arc::clone(&config.federation));
        self.gateways.set_policy(&config.federation);
    }
}

/// Every node of a cluster with SIP has the service, for its users' requests; whether it listens is a
/// matter of its role.
fn start_sip(
    config: &Config,
    secrets: &Secrets,
    membership: &MembershipHandle,
    switchboard: &Arc<Switchboard>,
    store: &Store,
) -> Result<Option<Sip>, AppError> {
    if !config.sip.is_on() {
        return Ok(None);
    }
    let trust = PeerTrust::new(proof::load_anchors(config.sip.trusted_ca_file.as_deref())?);
    let service = SipService::new(SipParts {
        config: config.sip.clone(),
        resolvers: config.xmpp.resolver.clone(),
        policy: Arc::clone(&config.federation),
        domains: config.domains.keys().cloned().collect(),
        switchboard: Arc::clone(switchboard),
        certificates: SipCertificates::load(&config.sip, &config.domains, trust.clone())?,
        secret: secrets.sip,
        epoch: membership.generation,
    })?;
    switchboard.connect_sip(Arc::clone(&service) as Arc<dyn crate::fabric::SipPart>);
    let gateways = Gateways::start(&GatewayParts {
        config: config.sip.clone(),
        policy: Arc::clone(&config.federation),
        secret: secrets.sip,
        switchboard: Arc::clone(switchboard),
        sip: Arc::clone(&service),
        store: store.clone(),
        shards: shard::shard_count(),
    })?;
    Ok(Some(Sip {
        service,
        gateways,
        trust,
    }))
}

/// The name that other nodes use for this one, and its address.
fn advertise(config: &Config) -> Result<(String, IpAddr), AppError> {
    let name = match &config.cluster.advertise {
        Some(name) => name.clone(),
        None => default_address()
            .unwrap_or(IpAddr::from([127, 0, 0, 1]))
            .to_string(),
    };
    let address = (name.as_str(), 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| {
            addresses
                .find(SocketAddr::is_ipv4)
                .or_else(|| (name.as_str(), 0).to_socket_addrs().ok()?.next())
        })
        .map(|address| address.ip())
        .ok_or_else(|| AppError::Advertise(name.clone()))?;
    Ok((name, address))
}

/// The address of the interface with the default route; nothing is sent.
fn default_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// Opens each port of clients and peers once: one that is taken is an error at the start.
fn probe_listeners(config: &Config) -> Result<(), AppError> {
    let clients = config
        .client
        .listen
        .iter()
        .chain(&config.client.direct_tls_listen);
    let peers = config
        .xmpp
        .listen
        .iter()
        .chain(&config.xmpp.direct_tls_listen);
    if config.node.roles.contains(Roles::SIP) {
        for &address in config.sip.listen.iter().chain(&config.sip.tcp_listen) {
            crate::net::listen::bind(address, "SIP federation")?;
        }
    }
    if config.node.roles.contains(Roles::CLIENT) {
        for &address in clients {
            crate::net::listen::bind(address, "clients")?;
        }
    }
    if config.node.roles.contains(Roles::XMPP) {
        for &address in peers {
            crate::net::listen::bind(address, "federation")?;
        }
    }
    Ok(())
}

fn membership_config(config: &Config, secrets: &Secrets, address: IpAddr) -> MembershipConfig {
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

fn facts(config: &Config, address: IpAddr, now: SystemTime) -> MemberFacts {
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

fn home_config(
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

fn start_homes(
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

async fn start_mesh(
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

fn client_service(
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
        session: SessionLimits {
            custody_stanzas: config.limits.custody_stanzas,
            repeat_window: config.limits.repeat_window,
        },
        random: ring::rand::SystemRandom::new(),
    })
}

/// DNS answers SERVFAIL unless the node serves or drains.
fn isolated(mut phase: watch::Receiver<Phase>) -> watch::Receiver<bool> {
    let cut = |phase: Phase| matches!(phase, Phase::Isolated | Phase::Starting);
    let (sender, receiver) = watch::channel(cut(*phase.borrow()));
    tokio::spawn(async move {
        while phase.changed().await.is_ok() {
            let now = cut(*phase.borrow_and_update());
            sender.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    });
    receiver
}

/// An isolated node ends its streams: their users are served elsewhere by now.
async fn close_when_isolated(mut phase: watch::Receiver<Phase>, connections: Arc<Connections>) {
    while phase
        .wait_for(|phase| *phase == Phase::Isolated)
        .await
        .is_ok()
    {
        close_connections(&connections);
        if phase
            .wait_for(|phase| *phase != Phase::Isolated)
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Ends every connection at once.
fn close_connections(connections: &Connections) {
    for inbox in connections.all() {
        let _gone = inbox.push(Item::Shutdown);
    }
}
