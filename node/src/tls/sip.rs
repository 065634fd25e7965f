//! What the nodes show to SIP peers: one certificate for all connections, or those of the local domains,
//! replaced as a whole on reload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use super::domains::check_name;
use super::pem::{Identity, TlsError};
use super::proof::PeerTrust;
use super::verifier::PeerVerifier;
use crate::config::{DomainConfig, SipConfig};

/// TLS settings of SIP in both directions.
#[derive(Clone)]
pub(crate) struct SipCertificates {
    current: Arc<ArcSwap<Set>>,
    verifier: Arc<PeerVerifier>,
    server: Arc<ServerConfig>,
}

struct Set {
    /// By local domain and by the hosts that its records name, in A-labels.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    outbound: HashMap<String, Arc<ClientConfig>>,
    /// For hellos without a name or with one that is not ours.
    fallback: Arc<CertifiedKey>,
}

impl SipCertificates {
    /// Reads the files.
    pub(crate) fn load(
        sip: &SipConfig,
        domains: &BTreeMap<String, DomainConfig>,
        trust: PeerTrust,
    ) -> Result<Self, TlsError> {
        let verifier = PeerVerifier::trusted_chain(trust);
        let set = Set::load(sip, domains, &verifier)?;
        let current = Arc::new(ArcSwap::from_pointee(set));
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(Arc::clone(&verifier) as _)
            .with_cert_resolver(Arc::new(BySni(Arc::clone(&current))));
        server.send_tls13_tickets = 0;
        // A resumed session would not show its certificate to the check of a changed set of CAs.
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            current,
            verifier,
            server: Arc::new(server),
        })
    }

    /// Reads the files again. On an error the old certificates stay.
    pub(crate) fn reload(
        &self,
        sip: &SipConfig,
        domains: &BTreeMap<String, DomainConfig>,
    ) -> Result<(), TlsError> {
        let set = Set::load(sip, domains, &self.verifier)?;
        self.current.store(Arc::new(set));
        Ok(())
    }

    /// For connections that peers open.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For connections that we open as `domain` (A-labels).
    pub(crate) fn outbound(&self, domain: &str) -> Option<Arc<ClientConfig>> {
        self.current.load().outbound.get(domain).cloned()
    }
}

/// What peers will miss in the certificates, for the check of a configuration (F7): the host in our
/// Contact, and of each domain its own name and the host of its records.
pub(crate) fn missing_names(
    sip: &SipConfig,
    domains: &BTreeMap<String, DomainConfig>,
) -> Result<Vec<String>, TlsError> {
    let mut notes = Vec::new();
    for (domain, config) in domains {
        let (certificate, key) = match &sip.identity {
            Some(own) => (&own.certificate_file, &own.private_key_file),
            None => (&config.certificate_file, &config.private_key_file),
        };
        let identity = Identity::load(certificate, key)?;
        let ascii = ascii(domain);
        for name in [Some(&ascii), config.sip_host.as_ref(), Some(&sip.host)]
            .into_iter()
            .flatten()
        {
            match check_name(&identity, certificate, name) {
                Ok(()) => {}
                Err(missing @ TlsError::MissingName { .. }) => {
                    notes.push(format!("sip: {missing}; some peers will refuse it"));
                }
                Err(other) => return Err(other),
            }
        }
    }
    notes.dedup();
    Ok(notes)
}

fn ascii(domain: &str) -> String {
    entente_xmpp_core::jid::domain_to_ascii(domain)
        .map_or_else(|_| domain.to_owned(), |name| name.into_owned())
}

impl Set {
    fn load(
        sip: &SipConfig,
        domains: &BTreeMap<String, DomainConfig>,
        verifier: &Arc<PeerVerifier>,
    ) -> Result<Self, TlsError> {
        let own = match &sip.identity {
            Some(files) => {
                let identity = Identity::load(&files.certificate_file, &files.private_key_file)
                    .map_err(|error| error.at("sip.certificate_file"))?;
                check_name(&identity, &files.certificate_file, &sip.host)
                    .map_err(|error| error.at("sip.certificate_file"))?;
                Some(Arc::new(identity.certified()?))
            }
            None => None,
        };
        let mut by_name = HashMap::new();
        let mut outbound = HashMap::new();
        let mut fallback = own.clone();
        for (domain, config) in domains {
            let certified = match &own {
                Some(own) => Arc::clone(own),
                None => {
                    let identity =
                        Identity::load(&config.certificate_file, &config.private_key_file)?;
                    Arc::new(identity.certified()?)
                }
            };
            let ascii = ascii(domain);
            let settings = ClientConfig::builder()
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(verifier) as _)
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                    &certified,
                ))));
            outbound.insert(ascii.clone(), Arc::new(settings));
            fallback.get_or_insert_with(|| Arc::clone(&certified));
            if let Some(host) = &config.sip_host {
                by_name.insert(host.clone(), Arc::clone(&certified));
            }
            by_name.insert(ascii, certified);
        }
        let fallback = fallback.expect("the configuration check demands a local domain");
        Ok(Self {
            by_name,
            outbound,
            fallback,
        })
    }
}

struct BySni(Arc<ArcSwap<Set>>);

impl std::fmt::Debug for BySni {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.0.load();
        let named = hello
            .server_name()
            .and_then(|name| set.by_name.get(&name.to_ascii_lowercase()));
        Some(Arc::clone(named.unwrap_or(&set.fallback)))
    }
}
