//! A throw-away certificate authority.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A CA whose files lie in one folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Both in one file, as ejabberd wants them.
    pub both: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "end-to-end test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        secret(&folder.join("ca.key"), &key.serialize_pem());
        Self {
            folder: folder.to_path_buf(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// A certificate as public CAs give them today: serverAuth only.
    pub fn issue(&self, file: &str, names: &[&str]) -> Issued {
        let (params, key) = leaf(names);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// One for servers and clients: what OpenSSL wants to see from those that connect to it.
    pub fn issue_for_both(&self, file: &str, names: &[&str]) -> Issued {
        let (mut params, key) = leaf(names);
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// One that is changed before it is signed.
    pub fn issue_changed(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let (mut params, key) = leaf(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// One that nobody signed.
    pub fn self_signed(&self, file: &str, names: &[&str]) -> Issued {
        let (params, key) = leaf(names);
        let certificate = params.self_signed(&key).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// One of this CA that ended yesterday.
    pub fn expired(&self, file: &str, names: &[&str]) -> Issued {
        let (mut params, key) = leaf(names);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    fn write(&self, file: &str, certificate: &str, key: &KeyPair) -> Issued {
        let issued = Issued {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
            both: self.folder.join(format!("{file}.both")),
        };
        std::fs::write(&issued.certificate, certificate).unwrap();
        secret(&issued.key, &key.serialize_pem());
        secret(
            &issued.both,
            &format!("{}{certificate}", key.serialize_pem()),
        );
        issued
    }
}

impl Issued {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.certificate)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }
}

fn leaf(names: &[&str]) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, names[0].clone());
    validity(&mut params);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params, KeyPair::generate().unwrap())
}

/// From yesterday for a month: ejabberd 23.01 sets a timer for the end, which Erlang refuses beyond
/// 49 days.
fn validity(params: &mut CertificateParams) {
    const DAY: Duration = Duration::from_secs(86_400);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - DAY);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + (now + 30 * DAY);
}

/// Writes a file that only its owner may read; over an existing one.
fn secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let _absent = std::fs::remove_file(path);
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
