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
use rustls_pki_types::PrivateKeyDer;

use super::pem::{self, TlsError};

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
        let pair = ca_key(&pem::private_key(key)?).map_err(|source| TlsError::CaKey {
            file: key.to_path_buf(),
            source,
        })?;
        let chain = pem::chain(certificate)?;
        let not_x509 = || TlsError::NotX509 {
            file: certificate.to_path_buf(),
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).map_err(|_| not_x509())?;
        if *parsed.public_key().subject_public_key.data != *pair.public_key_raw() {
            return Err(TlsError::OtherCa {
                certificate: certificate.to_path_buf(),
                key: key.to_path_buf(),
            });
        }
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&chain[0], pair).map_err(|_| not_x509())?,
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

/// A CA's key in the form that signs. That takes PKCS #8 only; an EC key in the older form of SEC 1
/// (`BEGIN EC PRIVATE KEY`, what `openssl ecparam -genkey` writes) is put into it first.
fn ca_key(key: &PrivateKeyDer<'_>) -> Result<KeyPair, rcgen::Error> {
    let PrivateKeyDer::Sec1(sec1) = key else {
        return KeyPair::try_from(key);
    };
    let mut last = rcgen::Error::CouldNotParseKeyPair;
    // The curve need not be named inside: the right one is the one that fits.
    for curve in [P256, P384] {
        let wrapped = pkcs8(curve, sec1.secret_sec1_der());
        match KeyPair::try_from(wrapped.as_slice()) {
            Ok(pair) => return Ok(pair),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The object identifiers of the curves, as DER (RFC 5480 section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// id-ecPublicKey.
const EC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A `PrivateKeyInfo` (RFC 5958 section 2) around an `ECPrivateKey` (RFC 5915).
fn pkcs8(curve: &[u8], sec1: &[u8]) -> Vec<u8> {
    const INTEGER_0: &[u8] = &[0x02, 0x01, 0x00];
    let algorithm = der(0x30, &[EC_KEY, curve].concat());
    let key = der(0x04, sec1);
    der(0x30, &[INTEGER_0, &algorithm, &key].concat())
}

/// One DER value of up to 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut out = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
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
