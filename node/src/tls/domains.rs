//! The local domains' certificates: chosen by SNI for clients and peers, presented by domain when we
//! connect out, replaced as a whole on reload without touching established connections.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use super::pem::{Identity, TlsError};
use super::verifier::PeerVerifier;
use crate::config::DomainConfig;

/// All TLS settings that hang on the local domains' certificates.
#[derive(Clone)]
pub(crate) struct DomainCertificates {
    current: Arc<ArcSwap<Set>>,
    for_clients: Arc<ServerConfig>,
    for_peers: Arc<ServerConfig>,
}

struct Set {
    /// By A-label domain.
    by_name: HashMap<String, Entry>,
    /// Answers a hello without SNI or for another name: the first domain's.
    fallback: Arc<CertifiedKey>,
}

struct Entry {
    certified: Arc<CertifiedKey>,
    outbound: Arc<ClientConfig>,
}

impl DomainCertificates {
    /// Reads all files and checks that each certificate names its domain (F7).
    pub(crate) fn load(domains: &BTreeMap<String, DomainConfig>) -> Result<Self, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(Set::load(domains)?));
        let resolver = Arc::new(BySni(Arc::clone(&current)));
        let base = || ServerConfig::builder();
        let mut for_clients = base()
            .with_no_client_auth()
            .with_cert_resolver(resolver.clone());
        let mut for_peers = base()
            .with_client_cert_verifier(PeerVerifier::any_chain())
            .with_cert_resolver(resolver);
        for (config, protocol) in [
            (&mut for_clients, "xmpp-client"),
            (&mut for_peers, "xmpp-server"),
        ] {
            // XEP-0368: the ALPN name of direct TLS; a peer that sends none is served as well.
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            config.send_tls13_tickets = 1;
        }
        Ok(Self {
            current,
            for_clients: Arc::new(for_clients),
            for_peers: Arc::new(for_peers),
        })
    }

    /// Reads the files again. On an error the old certificates stay.
    pub(crate) fn reload(&self, domains: &BTreeMap<String, DomainConfig>) -> Result<(), TlsError> {
        self.current.store(Arc::new(Set::load(domains)?));
        Ok(())
    }

    /// TLS settings of the client listeners.
    pub(crate) fn for_clients(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.for_clients)
    }

    /// TLS settings of the federation listeners.
    pub(crate) fn for_peers(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.for_peers)
    }

    /// TLS settings for a stream that we open as `domain` (A-labels).
    pub(crate) fn outbound(&self, domain: &str) -> Option<Arc<ClientConfig>> {
        self.current
            .load()
            .by_name
            .get(domain)
            .map(|entry| Arc::clone(&entry.outbound))
    }

    /// The certificate that a client which named `server_name` was shown: for tls-server-end-point.
    pub(crate) fn shown(&self, server_name: Option<&str>) -> Arc<CertifiedKey> {
        self.current.load().choose(server_name)
    }
}

impl Set {
    fn load(domains: &BTreeMap<String, DomainConfig>) -> Result<Self, TlsError> {
        let mut by_name = HashMap::new();
        let mut fallback = None;
        for (domain, config) in domains {
            let table = || format!("domains.\"{domain}\"");
            let identity = Identity::load(&config.certificate_file, &config.private_key_file)
                .map_err(|error| error.at(table()))?;
            let ascii = entente_xmpp_core::jid::domain_to_ascii(domain)
                .map_or_else(|_| domain.clone(), |name| name.into_owned());
            check_name(&identity, &config.certificate_file, &ascii)
                .map_err(|error| error.at(table()))?;
            let certified = Arc::new(identity.certified()?);
            fallback.get_or_insert_with(|| Arc::clone(&certified));
            let outbound = ClientConfig::builder()
                .dangerous()
                .with_custom_certificate_verifier(PeerVerifier::any_chain())
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                    &certified,
                ))));
            by_name.insert(
                ascii,
                Entry {
                    certified,
                    outbound: Arc::new(outbound),
                },
            );
        }
        let fallback = fallback.expect("the configuration check demands a local domain");
        Ok(Self { by_name, fallback })
    }

    fn choose(&self, server_name: Option<&str>) -> Arc<CertifiedKey> {
        let named = server_name.and_then(|name| self.by_name.get(&name.to_ascii_lowercase()));
        Arc::clone(named.map_or(&self.fallback, |entry| &entry.certified))
    }
}

/// Whether the certificate names `ascii` (F7).
pub(crate) fn check_name(identity: &Identity, file: &Path, ascii: &str) -> Result<(), TlsError> {
    let leaf = &identity.chain[0];
    let end_entity = webpki::EndEntityCert::try_from(leaf)
        .map_err(|_| TlsError::NotX509 { file: file.into() })?;
    let missing = || TlsError::MissingName {
        file: file.into(),
        name: ascii.to_owned(),
    };
    let name = rustls_pki_types::ServerName::try_from(ascii.to_owned()).map_err(|_| missing())?;
    end_entity
        .verify_is_valid_for_subject_name(&name)
        .map_err(|_| missing())
}

struct BySni(Arc<ArcSwap<Set>>);

impl std::fmt::Debug for BySni {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().choose(hello.server_name()))
    }
}
