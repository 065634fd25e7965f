//! Who a node is on the mesh: its certificate, its key, and the CA of the cluster.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::NodeId;

/// What follows the node id in the certificate's dNSName.
const MESH_SUFFIX: &str = ".mesh.entente.internal";

/// Certificate chain and key of a node, and the roots that it trusts on the mesh.
///
/// The certificate names the node as dNSName `NODE.mesh.entente.internal`, exactly once; it must
/// be usable for both sides of TLS (`serverAuth` and `clientAuth`, or no extended key usage).
#[derive(Clone)]
pub struct MeshIdentity {
    node: NodeId,
    not_after: i64,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Why certificate, key or roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A PEM file is broken or lacks what it should hold.
    #[error("PEM: {0}")]
    Pem(#[from] pem::Error),
    /// The chain is empty.
    #[error("no certificate given")]
    NoCertificate,
    /// The certificate cannot be read or names no node.
    #[error(transparent)]
    Name(#[from] CertificateNameError),
    /// A root cannot be read, or key and certificate do not fit together.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// There is no root to check other nodes with.
    #[error("the cluster CA: {0}")]
    Roots(#[from] rustls::client::VerifierBuilderError),
}

/// Why a certificate does not say which node it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateNameError {
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// There is no dNSName of the right form.
    #[error("the certificate has no dNSName NODE{MESH_SUFFIX}")]
    Missing,
    /// There are several such names.
    #[error("the certificate has several dNSNames NODE{MESH_SUFFIX}")]
    Ambiguous,
}

impl MeshIdentity {
    /// Checks and keeps an identity. `chain` begins with the node's own certificate.
    ///
    /// # Errors
    /// [`IdentityError`] if the parts are unusable or do not fit together. Expiry is not looked
    /// at, see [`Self::not_after`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let own = chain.first().ok_or(IdentityError::NoCertificate)?;
        let node = node_of(own)?;
        let not_after = expiry_of(own)?;
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root)?;
        }
        let store = Arc::new(store);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = client_config(&provider, &store, chain.clone(), key.clone_key())?;
        let server = server_config(&provider, &store, chain, key)?;
        Ok(Self {
            node,
            not_after,
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }

    /// The same from PEM: the chain, the key (PKCS #8, PKCS #1 or SEC 1), the CA certificates.
    ///
    /// # Errors
    /// [`IdentityError`], as for [`Self::new`].
    pub fn from_pem(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let roots = CertificateDer::pem_slice_iter(roots).collect::<Result<Vec<_>, _>>()?;
        Self::new(chain, key, roots)
    }

    /// The node that the certificate names.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// When the certificate expires, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl fmt::Debug for MeshIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshIdentity")
            .field("node", &self.node)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The name that the certificate of `node` must carry as dNSName.
#[must_use]
pub fn mesh_name(node: &NodeId) -> String {
    format!("{node}{MESH_SUFFIX}")
}

/// The same as what rustls compares the certificate with.
pub(super) fn server_name(node: &NodeId) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(mesh_name(node))
}

/// The node that a certificate (DER) belongs to.
///
/// # Errors
/// [`CertificateNameError`] unless exactly one dNSName has the right form.
pub fn node_of(certificate: &[u8]) -> Result<NodeId, CertificateNameError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateNameError::Unreadable)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| CertificateNameError::Unreadable)?
        .ok_or(CertificateNameError::Missing)?;
    let mut nodes = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => name.strip_suffix(MESH_SUFFIX),
            _ => None,
        });
    let node = nodes.next().ok_or(CertificateNameError::Missing)?;
    if nodes.next().is_some() {
        return Err(CertificateNameError::Ambiguous);
    }
    NodeId::new(node).map_err(|_| CertificateNameError::Missing)
}

fn expiry_of(certificate: &[u8]) -> Result<i64, CertificateNameError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateNameError::Unreadable)?;
    Ok(parsed.validity().not_after.timestamp())
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, IdentityError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Links live long; a resumed TLS session would outlive a change of the CA.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The identity in use, replaced on reload. Connections that stand are not touched.
#[derive(Debug, Clone)]
pub(super) struct CurrentIdentity(Arc<RwLock<MeshIdentity>>);

impl CurrentIdentity {
    pub(super) fn new(identity: MeshIdentity) -> Self {
        Self(Arc::new(RwLock::new(identity)))
    }

    pub(super) fn replace(&self, identity: MeshIdentity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .server()
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .client()
    }
}
