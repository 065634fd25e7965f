//! The cluster's secrets and this node's identity in the mesh: read from files, or, for a cluster of
//! one node without any, made in its data folder.

use std::path::{Path, PathBuf};

use entente_cluster::forward::{MeshIdentity, mesh_name};
use ring::hkdf;

use crate::config::{ClusterSecrets, Config, NodeIdentity};
use crate::tls::issue::{Authority, write};
use crate::tls::{TlsError, pem};

/// Everything derived from the cluster key and the cluster CA.
pub(crate) struct Secrets {
    pub(crate) gossip: [u8; 32],
    pub(crate) dialback: [u8; 32],
    pub(crate) decoys: [u8; 32],
    /// Seals the ids by which clients resume their sessions.
    pub(crate) resumption: [u8; 32],
    /// Seals SIP tags and branches.
    pub(crate) sip: [u8; 32],
    pub(crate) store_raft: String,
    pub(crate) store_api: String,
    pub(crate) mesh: MeshIdentity,
    /// Files of the node's certificate, its key and the CA, for the store.
    pub(crate) files: IdentityFiles,
}

pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

/// Why the secrets can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{}: the node's certificate is not usable in the mesh: {source}", file.display())]
    Mesh {
        file: PathBuf,
        source: entente_cluster::forward::IdentityError,
    },
    #[error("{}: the certificate is for node `{found}`, but this node is `{wanted}`; set node.id or issue a certificate for it", file.display())]
    OtherNode {
        file: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("{}: {source}", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Secrets {
    /// Reads or makes all of them.
    pub(crate) fn load(
        config: &Config,
        advertise: &str,
        now: std::time::SystemTime,
    ) -> Result<Self, SecretsError> {
        let folder = config.node.data_dir.join("cluster");
        std::fs::create_dir_all(&folder).map_err(|source| SecretsError::Folder {
            path: folder.clone(),
            source,
        })?;
        let made;
        let secrets = match &config.cluster.secrets {
            Some(secrets) => secrets,
            None => {
                made = make(&folder, now)?;
                &made
            }
        };
        let key =
            pem::cluster_key(&secrets.key_file).map_err(|error| error.at("cluster.key_file"))?;
        let files = identity_files(config, secrets, &folder, advertise, now)?;
        let mesh = mesh_identity(&files, config.node.id.as_str())?;
        Ok(Self {
            gossip: derive(&key, b"gossip"),
            dialback: derive(&key, b"dialback"),
            decoys: derive(&key, b"scram decoys"),
            resumption: derive(&key, b"resumption ids"),
            sip: derive(&key, b"sip tags and branches"),
            store_raft: hex(&derive(&key, b"store raft")),
            store_api: hex(&derive(&key, b"store api")),
            mesh,
            files,
        })
    }
}

/// Reads the cluster's files and writes nothing: for the check of a configuration.
pub(crate) fn check(config: &Config) -> Result<(), SecretsError> {
    let Some(secrets) = &config.cluster.secrets else {
        return Ok(());
    };
    pem::cluster_key(&secrets.key_file).map_err(|error| error.at("cluster.key_file"))?;
    match &secrets.identity {
        NodeIdentity::Issued { ca_key_file } => {
            Authority::load(&secrets.ca_file, ca_key_file)
                .map_err(|error| error.at("cluster.ca_file, cluster.ca_key_file"))?;
        }
        NodeIdentity::Files {
            certificate_file,
            private_key_file,
        } => {
            pem::Identity::load(certificate_file, private_key_file)
                .map_err(|error| error.at("cluster.certificate_file"))?;
            let files = IdentityFiles {
                certificate: certificate_file.clone(),
                key: private_key_file.clone(),
                ca: secrets.ca_file.clone(),
            };
            mesh_identity(&files, config.node.id.as_str())?;
        }
    }
    Ok(())
}

/// The mesh identity of `node` from its files; again on reload.
pub(crate) fn mesh_identity(
    files: &IdentityFiles,
    node: &str,
) -> Result<MeshIdentity, SecretsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| SecretsError::Folder {
            path: path.to_path_buf(),
            source,
        })
    };
    let mesh = MeshIdentity::from_pem(
        &read(&files.certificate)?,
        &read(&files.key)?,
        &read(&files.ca)?,
    )
    .map_err(|source| SecretsError::Mesh {
        file: files.certificate.clone(),
        source,
    })?;
    if mesh.node().as_str() != node {
        return Err(SecretsError::OtherNode {
            file: files.certificate.clone(),
            found: mesh.node().as_str().to_owned(),
            wanted: node.to_owned(),
        });
    }
    Ok(mesh)
}

/// A cluster of one makes its own key and CA.
fn make(folder: &Path, now: std::time::SystemTime) -> Result<ClusterSecrets, TlsError> {
    let secrets = ClusterSecrets {
        key_file: folder.join("cluster.key"),
        ca_file: folder.join("ca.pem"),
        identity: NodeIdentity::Issued {
            ca_key_file: folder.join("ca.key"),
        },
    };
    if !secrets.key_file.exists() {
        Authority::create(folder, "Entente cluster CA", now)?;
        write_cluster_key(&secrets.key_file)?;
    }
    Ok(secrets)
}

/// Writes a new cluster key.
pub(crate) fn write_cluster_key(file: &Path) -> Result<(), TlsError> {
    let mut key = [0_u8; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key).map_err(|_| {
        TlsError::Write {
            file: file.to_path_buf(),
            source: std::io::Error::other("the system gives no random bytes"),
        }
    })?;
    write(file, format!("{}\n", hex(&key)).as_bytes(), 0o400)
}

fn identity_files(
    config: &Config,
    secrets: &ClusterSecrets,
    folder: &Path,
    advertise: &str,
    now: std::time::SystemTime,
) -> Result<IdentityFiles, TlsError> {
    match &secrets.identity {
        NodeIdentity::Files {
            certificate_file,
            private_key_file,
        } => Ok(IdentityFiles {
            certificate: certificate_file.clone(),
            key: private_key_file.clone(),
            ca: secrets.ca_file.clone(),
        }),
        NodeIdentity::Issued { ca_key_file } => {
            // A fresh one at each start: short-lived nodes need no renewal.
            let authority = Authority::load(&secrets.ca_file, ca_key_file)
                .map_err(|error| error.at("cluster.ca_file, cluster.ca_key_file"))?;
            let names = [
                mesh_name(&config.node.id),
                advertise.to_owned(),
                entente_store::MEMBER_NAME.to_owned(),
            ];
            authority.issue_files(folder, "node", &names, now)?;
            Ok(IdentityFiles {
                certificate: folder.join("node.pem"),
                key: folder.join("node.key"),
                ca: secrets.ca_file.clone(),
            })
        }
    }
}

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn derive(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"entente cluster key").extract(key);
    let mut out = [0; 32];
    extracted
        .expand(&[purpose], Bytes32)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes is a length that HKDF-SHA256 gives");
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
