//! The only place that names all subsystems: builds them in order, connects them, takes them down.

mod address;
mod listeners;
mod parts;
mod phases;
mod sip;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_cluster::forward::Mesh;
use entente_cluster::{MemberFacts, MemberState, Membership, MembershipHandle};
use entente_store::Store;
use tokio::sync::watch;

use crate::admin::{Admin, AdminState};
use crate::client::ClientService;
use crate::clock::{now, wall};
use crate::config::Config;
use crate::dns::Dns;
use crate::drain::{self, Drain, Manner};
use crate::fabric::Switchboard;
use crate::phase::{Phase, PhaseControl};
use crate::secrets::Secrets;
use crate::tls::{DomainCertificates, PeerTrust, proof};
use crate::xmpp::XmppService;
use crate::{lease, secrets, storage};

use address::advertise;
use listeners::{Listeners, Services};
use parts::{client_service, facts, home_config, membership_config, start_homes, start_mesh};
use phases::{close_when_isolated, isolated};
use sip::Sip;

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
        let listeners = Listeners::of(&config);
        listeners.probe()?;

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
        let sip = sip::start(&config, &secrets, &membership, &switchboard, &store)?;
        let clients = client_service(&config, &secrets, &switchboard, &store, &certificates);
        let services = Services {
            clients: &clients,
            xmpp: &xmpp,
            sip: sip.as_ref(),
        };
        listeners.open(&services, &phase.open());
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
        listeners.self_check().await;
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
