//! `entente certs init`: cluster CA, cluster key, certificates for nodes and for development.

use std::path::Path;
use std::process::ExitCode;

use super::{CommandError, say};
use entente_cluster::NodeId;
use entente_cluster::forward::mesh_name;

use crate::cli::CertsCommand;
use crate::clock::wall;
use crate::secrets::write_cluster_key;
use crate::tls::issue::Authority;

pub(super) fn run(command: &CertsCommand) -> Result<ExitCode, CommandError> {
    let CertsCommand::Init {
        out,
        domains,
        nodes,
    } = command;
    std::fs::create_dir_all(out)?;
    let now = wall();
    let cluster = authority(out, "cluster-ca", "Entente cluster CA", now)?;
    if made(&out.join("cluster.key"), || {
        write_cluster_key(&out.join("cluster.key"))
    })? {
        say(&format!(
            "{}: the cluster key; the same file on every node",
            out.join("cluster.key").display()
        ));
    }
    for node in nodes {
        let stem = format!("node-{node}");
        let id = NodeId::new(node)
            .map_err(|error| CommandError::Refused(format!("--nodes: `{node}`: {error}")))?;
        let names = [
            mesh_name(&id),
            node.clone(),
            entente_store::MEMBER_NAME.to_owned(),
        ];
        if made(&out.join(format!("{stem}.pem")), || {
            cluster.issue_files(out, &stem, &names, now)
        })? {
            say(&format!(
                "{stem}.pem, {stem}.key: node {node} in the mesh; its advertised name must be {node}"
            ));
        }
    }
    if !domains.is_empty() {
        let development = authority(out, "dev-ca", "Entente development CA", now)?;
        for domain in domains {
            let names = [domain.clone(), format!("*.{domain}")];
            if made(&out.join(format!("{domain}.pem")), || {
                development.issue_files(out, domain, &names, now)
            })? {
                say(&format!(
                    "{domain}.pem, {domain}.key: a development certificate; use one of a public CA in production"
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The CA `stem` in `folder`, made if it is not there.
fn authority(
    folder: &Path,
    stem: &str,
    name: &str,
    now: std::time::SystemTime,
) -> Result<Authority, CommandError> {
    let (certificate, key) = (
        folder.join(format!("{stem}.pem")),
        folder.join(format!("{stem}.key")),
    );
    if certificate.exists() {
        return Ok(Authority::load(&certificate, &key)?);
    }
    let authority = Authority::create(folder, name, now)?;
    std::fs::rename(folder.join("ca.pem"), &certificate)?;
    std::fs::rename(folder.join("ca.key"), &key)?;
    say(&format!(
        "{}: {name}; keep {} safe",
        certificate.display(),
        key.display()
    ));
    Ok(authority)
}

/// Makes a file that is not there; says whether it did.
fn made(
    file: &Path,
    make: impl FnOnce() -> Result<(), crate::tls::TlsError>,
) -> Result<bool, CommandError> {
    if file.exists() {
        return Ok(false);
    }
    make()?;
    Ok(true)
}
