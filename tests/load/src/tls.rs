//! TLS client configurations: one that trusts anything, one that trusts a CA file.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::endpoint::{Endpoint, TlsMode, Trust};
use crate::error::TlsSetupError;

/// The configuration for an endpoint. Those that trust anything are made once: thousands of
/// sessions share them.
pub(crate) fn config(endpoint: &Endpoint) -> Result<Arc<ClientConfig>, TlsSetupError> {
    static ANYTHING: [OnceLock<Arc<ClientConfig>>; 2] = [OnceLock::new(), OnceLock::new()];
    let direct = endpoint.tls == TlsMode::Direct;
    match &endpoint.trust {
        Trust::CaFile(path) => Ok(Arc::new(trusting_ca(path, direct)?)),
        Trust::Anything => {
            let slot = &ANYTHING[usize::from(direct)];
            if let Some(config) = slot.get() {
                return Ok(config.clone());
            }
            let config = Arc::new(trusting_anything(direct)?);
            Ok(slot.get_or_init(|| config).clone())
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
        .clone()
}

fn trusting_anything(direct: bool) -> Result<ClientConfig, TlsSetupError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(finished(config, direct))
}

fn trusting_ca(path: &Path, direct: bool) -> Result<ClientConfig, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| TlsSetupError::CaFile)? {
        roots.add(certificate.map_err(|_| TlsSetupError::CaFile)?)?;
    }
    if roots.is_empty() {
        return Err(TlsSetupError::CaFile);
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(finished(config, direct))
}

fn finished(mut config: ClientConfig, direct: bool) -> ClientConfig {
    if direct {
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    }
    // Every login pays for a full handshake: otherwise the cost of a login would depend on which
    // server issues tickets.
    config.resumption = Resumption::disabled();
    config
}

/// Accepts every certificate; signatures of the handshake are still checked, at the same cost as
/// for a real client.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
