//! A connection to a server of another domain, from DNS to an established stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use entente_xmpp_core::jid::domain_to_ascii;
use entente_xmpp_core::stream::{
    AuthMethod, OutboundConfig, OutboundError, OutboundInput, OutboundOutput, OutboundStream,
    Purpose,
};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::ConnectFailure;
use super::resolve;
use super::service::{XmppService, tls_policy};
use super::target::{Services, Target, in_order};
use crate::clock::{now, until};
use crate::config::PeerConfig;
use crate::net::{Io, IoEvent, dial, tls_version};

/// How long the last bytes to a stream that ends may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// An open connection with its stream.
pub(super) struct Connection {
    pub(super) io: Io,
    pub(super) out: BytesMut,
    pub(super) needs_flush: bool,
    pub(super) stream: OutboundStream,
    pub(super) target: Target,
    tls: TlsIdentity,
}

/// What the TLS handshake needs.
#[derive(Clone)]
struct TlsIdentity {
    service: Arc<XmppService>,
    /// In A-labels.
    local: Arc<str>,
    /// In A-labels.
    remote: Arc<str>,
}

/// What came of the negotiation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) bidi: bool,
    pub(super) acks: bool,
    pub(super) method: AuthMethod,
}

/// The servers of `remote`, in the order of trying.
pub(super) async fn targets(
    service: &XmppService,
    remote: &str,
    peer: &PeerConfig,
) -> Result<Vec<Target>, ConnectFailure> {
    if !peer.targets.is_empty() {
        let fixed = peer.targets.iter();
        return Ok(fixed
            .map(|(host, port)| Target {
                host: host.clone(),
                port: *port,
                direct_tls: peer.direct_tls,
            })
            .collect());
    }
    let domain = domain_to_ascii(remote).map_err(|_| ConnectFailure::NoSuchDomain)?;
    match resolve::services(&service.resolver, &domain).await {
        Services::Found(records) => Ok(in_order(records, &mut rand::rng())),
        Services::NotHere => Err(ConnectFailure::NotHere),
        Services::None => Ok(vec![resolve::fallback(&domain)]),
    }
}

/// Opens a stream for `purpose` at the first target that works. Whatever fails before the stream
/// is up, the next target is tried.
pub(super) async fn open(
    service: &Arc<XmppService>,
    local: &Arc<str>,
    remote: &Arc<str>,
    purpose: Purpose,
    prepare: impl Fn(&mut OutboundStream),
) -> Result<(Connection, Option<Terms>), ConnectFailure> {
    let peer = service
        .policy
        .borrow()
        .peer(remote)
        .ok_or(ConnectFailure::Denied)?;
    let mut failure: Option<ConnectFailure> = None;
    for target in targets(service, remote, &peer).await? {
        let mut external = true;
        loop {
            let config = stream_config(service, local, remote, purpose, &peer, external);
            let attempt = attempt(service, config, target.clone(), &prepare);
            let failed = match Box::pin(attempt).await {
                Ok(up) => return Ok(up),
                Err(failed) => failed,
            };
            metrics::counter!("entente_xmpp_connect_failures_total", "reason" => failed.failure.label()).increment(1);
            tracing::debug!(%local, %remote, %target, failure = %failed.failure, "no stream with this target");
            failure = Some(match failure.take() {
                Some(earlier) => earlier.or_stronger(failed.failure),
                None => failed.failure,
            });
            if !(external && failed.without_external) {
                break;
            }
            external = false;
        }
    }
    Err(failure.unwrap_or(ConnectFailure::NoSuchDomain))
}

fn stream_config(
    service: &XmppService,
    local: &Arc<str>,
    remote: &Arc<str>,
    purpose: Purpose,
    peer: &PeerConfig,
    external: bool,
) -> OutboundConfig {
    let federate = purpose == Purpose::Federate;
    let mut config = OutboundConfig::new(
        Arc::clone(local),
        Arc::clone(remote),
        service.secret.clone(),
    );
    config.purpose = purpose;
    config.tls = tls_policy(peer.tls);
    config.require_certificate = peer.require_certificate;
    config.external = external && federate;
    config.dialback = service.config.dialback && !peer.require_certificate;
    config.bidi = federate;
    config.sm = federate;
    config.limits.bytes = service.config.max_stanza_bytes;
    config.negotiation_timeout = service.config.connect_timeout;
    config.idle_timeout = service.config.idle;
    config
}

struct Failed {
    failure: ConnectFailure,
    /// The same target may do without EXTERNAL.
    without_external: bool,
}

impl From<ConnectFailure> for Failed {
    fn from(failure: ConnectFailure) -> Self {
        Self {
            failure,
            without_external: false,
        }
    }
}

async fn attempt(
    service: &Arc<XmppService>,
    config: OutboundConfig,
    target: Target,
    prepare: &impl Fn(&mut OutboundStream),
) -> Result<(Connection, Option<Terms>), Failed> {
    let patience = service.config.connect_timeout;
    let ascii = |domain: &str| domain_to_ascii(domain).map(|ascii| Arc::from(ascii.as_ref()));
    let tls = TlsIdentity {
        service: Arc::clone(service),
        local: ascii(&config.local).map_err(|_| ConnectFailure::NoIdentity)?,
        remote: ascii(&config.remote).map_err(|_| ConnectFailure::NoSuchDomain)?,
    };
    let connect = async {
        let addresses = resolve::addresses(&service.resolver, &target).await?;
        Ok::<_, ConnectFailure>(dial(&addresses).await?)
    };
    let socket = timeout(patience, connect)
        .await
        .map_err(|_| ConnectFailure::Timeout(patience))??;
    let seed = service.seed().ok_or(ConnectFailure::NoIdentity)?;
    let purpose = config.purpose;
    let mut stream = OutboundStream::new(Arc::new(config), &seed, now());
    prepare(&mut stream);
    let direct_tls = target.direct_tls;
    let mut connection = Connection {
        io: Io::Plain(socket),
        out: BytesMut::new(),
        needs_flush: false,
        stream,
        target,
        tls,
    };
    if direct_tls {
        connection.handshake(true).await?;
    } else {
        connection
            .stream
            .handle_input(now(), OutboundInput::Connected);
    }
    match purpose {
        // The answer comes out of `next` when it is there.
        Purpose::Verify => Ok((connection, None)),
        Purpose::Federate => {
            let terms = connection.established().await?;
            Ok((connection, Some(terms)))
        }
    }
}

impl Connection {
    /// Waits until stanzas can be sent.
    async fn established(&mut self) -> Result<Terms, Failed> {
        loop {
            match self.next().await? {
                OutboundOutput::Established { bidi, sm, method } => {
                    return Ok(Terms {
                        bidi,
                        acks: sm,
                        method,
                    });
                }
                OutboundOutput::Failed(error) => {
                    self.finish().await;
                    return Err(Failed {
                        without_external: error.retry_without_external(),
                        failure: cause(error, self.patience()),
                    });
                }
                OutboundOutput::Closed(reason) => {
                    self.finish().await;
                    return Err(ConnectFailure::closed(&reason).into());
                }
                _ => {}
            }
        }
    }

    fn patience(&self) -> Duration {
        self.tls.service.config.connect_timeout
    }

    /// The next output of the stream, doing meanwhile whatever needs to be done; never
    /// [`OutboundOutput::StartTls`].
    pub(super) async fn next(&mut self) -> Result<OutboundOutput, ConnectFailure> {
        loop {
            while let Some(output) = self.stream.poll_output() {
                if !matches!(output, OutboundOutput::StartTls) {
                    return Ok(output);
                }
                self.stream.take_transmit(&mut self.out);
                let sent = self.io.write_all(&mut self.out).await;
                sent.map_err(|error| ConnectFailure::Tcp(error.kind()))?;
                self.handshake(false).await?;
            }
            self.stream.take_transmit(&mut self.out);
            let deadline = self.stream.poll_timeout();
            let Self {
                io,
                out,
                needs_flush,
                stream,
                ..
            } = self;
            let reading = stream.wants_bytes();
            tokio::select! {
                event = io.event(out, needs_flush, reading, |bytes| stream.handle_input(now(), OutboundInput::Bytes(bytes.into()))) => match event {
                    IoEvent::Read | IoEvent::Written => {}
                    IoEvent::Eof | IoEvent::Broken => self.stream.handle_input(now(), OutboundInput::Eof),
                },
                () = until(deadline) => self.stream.handle_input(now(), OutboundInput::Timeout),
            }
        }
    }

    async fn handshake(&mut self, direct: bool) -> Result<(), ConnectFailure> {
        let patience = self.patience();
        let identity = &self.tls;
        let outbound = identity
            .service
            .certificates
            .outbound(&identity.local)
            .ok_or(ConnectFailure::NoIdentity)?;
        let config = if direct {
            // XEP-0368: the name of the protocol, for proxies that serve several on one port.
            let mut config = (*outbound).clone();
            config.alpn_protocols = vec![b"xmpp-server".to_vec()];
            Arc::new(config)
        } else {
            outbound
        };
        let name = ServerName::try_from(identity.remote.to_string())
            .map_err(|_| ConnectFailure::NoSuchDomain)?;
        let socket = self
            .io
            .take_plain()
            .ok_or(ConnectFailure::Tls(Cow::Borrowed("TLS is on already")))?;
        let tls = timeout(patience, TlsConnector::from(config).connect(name, socket))
            .await
            .map_err(|_| ConnectFailure::Timeout(patience))?
            .map_err(|error| ConnectFailure::Tls(error.to_string().into()))?;
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate_valid =
            identity
                .service
                .trust
                .proves(chain, &identity.remote, UnixTime::now());
        self.io = Io::Client(Box::new(tls));
        self.stream
            .handle_input(now(), OutboundInput::TlsEstablished { certificate_valid });
        Ok(())
    }

    /// The TLS version, for people.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        match &self.io {
            Io::Client(tls) => Some(tls_version(tls.get_ref().1.protocol_version())),
            _ => None,
        }
    }

    /// Writes what is left and closes.
    pub(super) async fn finish(&mut self) {
        self.stream.take_transmit(&mut self.out);
        let last_words = async {
            if self.io.write_all(&mut self.out).await.is_ok() {
                self.io.shutdown().await;
            }
        };
        let _late = timeout(LAST_WORDS, last_words).await;
        self.io = Io::Gone;
    }

    /// Gives the stream a stanza.
    pub(super) fn send(&mut self, now: Instant, token: u64, stanza: Bytes) {
        self.stream
            .handle_input(now, OutboundInput::Send { stanza, token });
    }
}

/// The name of an authentication.
pub(super) fn method_name(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::External => "external",
        AuthMethod::Dialback => "dialback",
    }
}

fn cause(error: OutboundError, patience: Duration) -> ConnectFailure {
    match error {
        OutboundError::CertificateInvalid => ConnectFailure::Certificate,
        OutboundError::Timeout => ConnectFailure::Timeout(patience),
        OutboundError::TlsUnavailable => ConnectFailure::Tls(Cow::Borrowed("the peer offers none")),
        other => ConnectFailure::Stream(other.to_string().into()),
    }
}
