//! PEM files: certificate chains and keys, with errors that name the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with a certificate or key; always names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Which key of the configuration named the file.
    #[error("{key}: {source}")]
    At { key: String, source: Box<TlsError> },
    #[error("{}: {source}; name a PEM file that the user who runs entente can read", file.display())]
    Read {
        file: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    #[error("{}: holds no certificate; it must contain a PEM block `CERTIFICATE`", file.display())]
    NoCertificate { file: PathBuf },
    #[error("{}: holds no private key without password; it must contain a PEM block `PRIVATE KEY`: `openssl pkey -in OLD -out NEW` writes one", file.display())]
    NoPrivateKey { file: PathBuf },
    #[error("{}: no CA key that can be used ({source}); it must be an EC key on P-256 or P-384, Ed25519, or RSA as PKCS #8: `openssl pkcs8 -topk8 -nodes -in OLD -out NEW` writes that", file.display())]
    CaKey { file: PathBuf, source: rcgen::Error },
    #[error("{} is not the key of the CA certificate {}; name the two files of one CA", key.display(), certificate.display())]
    OtherCa { certificate: PathBuf, key: PathBuf },
    #[error("{} and {} do not belong together or the key is of an unknown kind: {source}; name the key that the certificate was made for", certificate.display(), key.display())]
    Mismatch {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("{}: cannot be read as an X.509 certificate; name the file that the CA gave you, as PEM", file.display())]
    NotX509 { file: PathBuf },
    #[error("{}: lacks the subject alternative name `{name}`; ask the CA for a certificate that has it", file.display())]
    MissingName { file: PathBuf, name: String },
    #[error("{}: {source}", file.display())]
    Write {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}; name a file that the user who runs entente can read", file.display())]
    KeyFile {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: holds no cluster key; it must be 64 hexadecimal digits (`entente certs init` makes one)", file.display())]
    NoKey { file: PathBuf },
    #[error("issuing a certificate failed: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("TLS settings were refused: {0}")]
    Rustls(#[from] rustls::Error),
}

impl TlsError {
    /// Says which key of the configuration named the file.
    pub(crate) fn at(self, key: impl Into<String>) -> Self {
        Self::At {
            key: key.into(),
            source: Box::new(self),
        }
    }
}

/// A certificate chain with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Identity({} certificates)", self.chain.len())
    }
}

impl Identity {
    /// Reads chain and key and checks that they belong together.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = chain(certificate)?;
        let key_der = private_key(key)?;
        let identity = Self {
            chain,
            key: Arc::new(key_der),
        };
        identity.certified().map_err(|source| TlsError::Mismatch {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            source,
        })?;
        Ok(identity)
    }

    /// The form that rustls signs with.
    pub(crate) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        CertifiedKey::from_der(
            self.chain.clone(),
            self.key.clone_key(),
            &rustls::crypto::ring::default_provider(),
        )
    }
}

/// The first private key of a PEM file.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|source| match source {
        rustls_pki_types::pem::Error::NoItemsFound => TlsError::NoPrivateKey {
            file: file.to_path_buf(),
        },
        source => TlsError::Read {
            file: file.to_path_buf(),
            source,
        },
    })
}

/// All certificates of a PEM file.
pub(crate) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read {
        file: file.to_path_buf(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            file: file.to_path_buf(),
        });
    }
    Ok(certificates)
}

/// The 32 bytes of a cluster key file.
pub(crate) fn cluster_key(file: &Path) -> Result<[u8; 32], TlsError> {
    let text = std::fs::read_to_string(file).map_err(|source| TlsError::KeyFile {
        file: file.to_path_buf(),
        source,
    })?;
    let mut key = [0; 32];
    let text = text.trim();
    let fault = || TlsError::NoKey {
        file: file.to_path_buf(),
    };
    if text.len() != 64 || !text.is_ascii() {
        return Err(fault());
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| fault())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| fault())?;
    }
    Ok(key)
}
