//! `entente run` without a configuration: a single node on loopback for trying things, with a
//! development CA, a certificate for `localhost` and two accounts. Everything lies in one folder.

use std::path::{Path, PathBuf};

use crate::tls::TlsError;
use crate::tls::issue::{Authority, write};

/// The folder of the development node, below the current one.
pub(crate) const FOLDER: &str = "entente-dev";

/// The accounts that a development node starts with.
pub(crate) const ACCOUNTS: [&str; 2] = ["alice@localhost", "bob@localhost"];

/// Makes what is missing in `folder` and returns the path of its configuration file.
pub(crate) fn prepare(folder: &Path, now: std::time::SystemTime) -> Result<PathBuf, TlsError> {
    let fault = |source| TlsError::Write {
        file: folder.to_path_buf(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(fault)?;
    let config = folder.join("entente.toml");
    let certificate = folder.join("localhost.pem");
    if !certificate.exists() {
        let authority = Authority::create(folder, "Entente development CA", now)?;
        authority.issue_files(folder, "localhost", &["localhost".to_owned()], now)?;
    }
    if !config.exists() {
        write(&config, TEXT.as_bytes(), 0o644)?;
    }
    Ok(config)
}

const TEXT: &str = r#"# A development node: loopback only. Made by `entente run` without --config.
[node]
id = "dev"
host = "localhost"
data_dir = "data"
public_addresses = ["127.0.0.1"]

[cluster]
listen = "127.0.0.1"
advertise = "127.0.0.1"

[domains."localhost"]
certificate_file = "localhost.pem"
private_key_file = "localhost.key"

[client]
listen = ["127.0.0.1:5222"]
direct_tls_listen = ["127.0.0.1:5223"]

[xmpp]
listen = ["127.0.0.1:5269"]
direct_tls_listen = ["127.0.0.1:5270"]
trusted_ca_file = "ca.pem"

[dns]
listen = ["127.0.0.1:5353"]
responses_per_second = 0
"#;
