//! Who this node is to the cluster: `node.json` in the data directory.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Bootstrap, StoreConfig};
use crate::error::StoreError;

/// The engine lets only this member found a cluster.
pub(crate) const FOUNDER: u64 = 1;

/// What a node remembers about itself between two starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) node_id: u64,
    /// Grows with every start; part of each batch's number.
    pub(crate) epoch: u64,
    pub(crate) advertise_raft: String,
    pub(crate) advertise_api: String,
    /// The first start has been completed: the engine holds a membership.
    pub(crate) joined: bool,
    /// `seed.sqlite` must be put in place at the next start, as the content of a new cluster.
    pub(crate) seeded: bool,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("node.json")
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

/// The identity of an earlier start, if there was one.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Identity>, StoreError> {
    let path = path(data_dir);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| StoreError::Identity(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(&path)(error)),
    }
}

/// Replaces the file in one step, so that a crash leaves the old or the new one.
pub(crate) fn save(data_dir: &Path, identity: &Identity) -> Result<(), StoreError> {
    let path = path(data_dir);
    let fresh = data_dir.join("node.json.new");
    let bytes = serde_json::to_vec_pretty(identity).expect("plain fields always serialize");
    let mut file = File::create(&fresh).map_err(io_error(&fresh))?;
    file.write_all(&bytes).map_err(io_error(&fresh))?;
    file.sync_all().map_err(io_error(&fresh))?;
    fs::rename(&fresh, &path).map_err(io_error(&path))?;
    File::open(data_dir)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(data_dir))
}

/// The member id of a joining node: FNV-1a of its name, kept inside SQLite's positive integers and
/// clear of 0 and the founder's 1. Stable, so that a node that lost its disk is recognised and its
/// old membership is replaced.
pub(crate) fn joiner_id(node_name: &str) -> u64 {
    let hash = node_name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash & (i64::MAX as u64)).max(2)
}

/// Who this node is: as before, or new. A directory keeps its addresses, see
/// [`StoreError::AddressChanged`].
pub(crate) fn establish(config: &StoreConfig) -> Result<Identity, StoreError> {
    let recorded = load(&config.data_dir)?;
    let founds = match &config.cluster {
        None => true,
        Some(cluster) => matches!(cluster.bootstrap, Bootstrap::First),
    };
    let (advertise_raft, advertise_api) = match (&config.cluster, &recorded) {
        (Some(cluster), _) => (
            cluster.advertise_raft.clone(),
            cluster.advertise_api.clone(),
        ),
        // Chosen once and kept, because the engine stores its own address.
        (None, Some(identity)) if !identity.seeded => (
            identity.advertise_raft.clone(),
            identity.advertise_api.clone(),
        ),
        (None, _) => (
            free_address(&config.data_dir)?,
            free_address(&config.data_dir)?,
        ),
    };
    let identity = match recorded {
        Some(recorded) if recorded.seeded => Identity {
            node_id: FOUNDER,
            advertise_raft,
            advertise_api,
            joined: false,
            ..recorded
        },
        Some(recorded) => {
            for (recorded, configured) in [
                (&recorded.advertise_raft, &advertise_raft),
                (&recorded.advertise_api, &advertise_api),
            ] {
                if recorded != configured {
                    return Err(StoreError::AddressChanged {
                        recorded: recorded.clone(),
                        configured: configured.clone(),
                    });
                }
            }
            recorded
        }
        None => Identity {
            node_id: if founds {
                FOUNDER
            } else {
                joiner_id(&config.node_name)
            },
            epoch: 0,
            advertise_raft,
            advertise_api,
            joined: false,
            seeded: false,
        },
    };
    save(&config.data_dir, &identity)?;
    Ok(identity)
}

/// The engine insists on two listeners even where nobody else will connect.
fn free_address(data_dir: &Path) -> Result<String, StoreError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(io_error(data_dir))?;
    let address = listener.local_addr().map_err(io_error(data_dir))?;
    Ok(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiner_ids_are_stable_and_never_the_founders() {
        assert_eq!(joiner_id("node-b"), joiner_id("node-b"));
        assert_ne!(joiner_id("node-b"), joiner_id("node-c"));
        for name in ["", "a", "n1", "node-with-a-long-name.example"] {
            let id = joiner_id(name);
            assert!(id > FOUNDER && i64::try_from(id).is_ok());
        }
    }
}
