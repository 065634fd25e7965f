//! Mutual TLS between SIP servers (RFC 5922): both show a certificate of a CA that the other trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::error::TlsSetupError;

/// Who one is, and whom one trusts: PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The CA that signs everybody's certificates.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Identity {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
        let read = CertificateDer::pem_file_iter(&self.certificate);
        read.and_then(Iterator::collect)
            .map_err(|_| TlsSetupError::CaFile)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
        PrivateKeyDer::from_pem_file(&self.key).map_err(|_| TlsSetupError::CaFile)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca: &Path) -> Result<Arc<RootCertStore>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|_| TlsSetupError::CaFile)? {
        roots.add(certificate.map_err(|_| TlsSetupError::CaFile)?)?;
    }
    Ok(Arc::new(roots))
}

/// For connections to others. The other's certificate must be the CA's; its name is not looked at
/// (a peer is dialled by address), which is left to the test.
pub fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        roots(&identity.ca)?,
        provider(),
    )
    .build()
    .map_err(|_| TlsSetupError::CaFile)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
        .with_client_auth_cert(identity.chain()?, identity.private_key()?)?;
    Ok(Arc::new(config))
}

/// For connections from others, who must show a certificate of the CA.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&identity.ca)?, provider())
        .build()
        .map_err(|_| TlsSetupError::CaFile)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain()?, identity.private_key()?)?;
    Ok(Arc::new(config))
}

/// Everything but the name.
#[derive(Debug)]
struct AnyName(Arc<rustls::client::WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
