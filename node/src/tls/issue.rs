//! Issuing certificates: the cluster CA with the nodes' certificates, and a development CA for
//! trying things. Private keys are written with mode 0400.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::pem::TlsError;

const CA_DAYS: u64 = 3650;
const LEAF_DAYS: u64 = 825;

/// A certificate authority that can issue.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new CA and writes `ca.pem` and `ca.key` into `folder`.
    pub(crate) fn create(
        folder: &Path,
        name: &str,
        now: std::time::SystemTime,
    ) -> Result<Self, TlsError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, now, CA_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write(&folder.join("ca.pem"), certificate.pem().as_bytes(), 0o644)?;
        write(
            &folder.join("ca.key"),
            key.serialize_pem().as_bytes(),
            0o400,
        )?;
        Ok(Self {
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads a CA from its two files.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Read {
            file: key.to_path_buf(),
            source,
        })?;
        let certificate_der =
            CertificateDer::from_pem_file(certificate).map_err(|source| TlsError::Read {
                file: certificate.to_path_buf(),
                source,
            })?;
        let pair = KeyPair::try_from(&key_der)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&certificate_der, pair)?,
        })
    }

    /// Issues a certificate for `names` (DNS names), for both ends of TLS.
    pub(crate) fn issue(
        &self,
        names: &[String],
        now: std::time::SystemTime,
    ) -> Result<(String, String), TlsError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = common_name(names.first().map_or("entente", String::as_str));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, LEAF_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Issues and writes `STEM.pem` and `STEM.key` into `folder`.
    pub(crate) fn issue_files(
        &self,
        folder: &Path,
        stem: &str,
        names: &[String],
        now: std::time::SystemTime,
    ) -> Result<(), TlsError> {
        let (certificate, key) = self.issue(names, now)?;
        write(
            &folder.join(format!("{stem}.pem")),
            certificate.as_bytes(),
            0o644,
        )?;
        write(&folder.join(format!("{stem}.key")), key.as_bytes(), 0o400)
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn validity(params: &mut CertificateParams, now: std::time::SystemTime, days: u64) {
    // An hour of grace for clocks that are behind.
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + Duration::from_secs(days * 86_400)).into();
}

/// Writes a file anew with `mode`; an existing one is replaced.
pub(crate) fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let fault = |source| TlsError::Write {
        file: file.to_path_buf(),
        source,
    };
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .map_err(fault)?;
    out.write_all(bytes)
        .and_then(|()| out.sync_all())
        .map_err(fault)
}
