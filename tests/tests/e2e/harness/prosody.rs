//! A Prosody with several domains.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use entente_load::{Client, Endpoint, Login};

use super::{Issued, NameServer, Process, eventually};

const PASSWORD: &str = "load";

/// A domain of a Prosody.
pub struct VirtualHost {
    pub domain: &'static str,
    pub certificate: Issued,
    /// Lines for this host only.
    pub extra: &'static str,
}

pub struct Prosody {
    pub address: IpAddr,
    process: Process,
    log: PathBuf,
}

impl Prosody {
    /// Starts it with the users u1 to u9 in each domain.
    pub async fn start(
        folder: &Path,
        address: IpAddr,
        names: &NameServer,
        ca: &Path,
        hosts: &[VirtualHost],
    ) -> Self {
        let folder = folder.join("prosody");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        let certificates = folder.join("certificates");
        std::fs::create_dir_all(&certificates).unwrap();
        let load = Path::new(env!("CARGO_MANIFEST_DIR")).join("load");
        let mut text = format!(
            r#"
run_as_root = true
daemonize = false
certificates = "{dir}/certificates"
pidfile = "{dir}/prosody.pid"
data_path = "{dir}/data"
plugin_paths = {{ "{plugins}" }}
log = {{ debug = "{dir}/prosody.log" }}
interfaces = {{ "{address}" }}
local_interfaces = {{ "{address}" }}
c2s_ports = {{ 15222 }}
s2s_ports = {{ 15269 }}
s2s_direct_tls_ports = {{ 15270 }}
component_ports = {{}}
http_ports = {{}}
https_ports = {{}}
-- Without the last option libunbound refuses servers on loopback addresses.
unbound = {{
    resolvconf = false;
    hoststxt = false;
    forward = {{ "{dns_address}@{dns_port}" }};
    options = {{ ["do-not-query-localhost:"] = "no" }};
}}
modules_enabled = {{
    "roster"; "saslauth"; "tls"; "dialback"; "disco"; "carbons"; "blocklist"; "ping"; "time"; "version"; "smacks"; "offline";
}}
modules_disabled = {{ "s2s_auth_dane" }}
authentication = "internal_hashed"
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
ssl = {{ cafile = "{ca}"; capath = ""; }}
"#,
            dir = folder.display(),
            plugins = load.join("servers/prosody-modules").display(),
            dns_address = names.address.ip(),
            dns_port = names.address.port(),
            ca = ca.display(),
        );
        for host in hosts {
            // For direct TLS it looks for them by name.
            let file = |suffix| certificates.join(format!("{}.{suffix}", host.domain));
            std::fs::copy(&host.certificate.certificate, file("crt")).unwrap();
            std::fs::copy(&host.certificate.key, file("key")).unwrap();
            writeln!(
                text,
                "VirtualHost \"{}\"\n  ssl = {{ certificate = \"{}\"; key = \"{}\"; cafile = \"{}\"; capath = \"\"; }}\n{}",
                host.domain,
                host.certificate.certificate.display(),
                host.certificate.key.display(),
                ca.display(),
                host.extra
            )
            .unwrap();
        }
        let config = folder.join("prosody.cfg.lua");
        std::fs::write(&config, text).unwrap();
        for host in hosts {
            let made = tokio::process::Command::new(load.join("accounts-prosody"))
                .arg(&config)
                .args([host.domain, "u", "9", PASSWORD])
                .output()
                .await
                .unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        let mut command = Command::new("prosody");
        command.args(["-F", "--config"]).arg(&config);
        let process = Process::start(command, &folder.join("stdout.log"));
        let prosody = Self {
            address,
            process,
            log: folder.join("prosody.log"),
        };
        let endpoint = prosody.clients();
        eventually("Prosody serves", Duration::from_secs(20), || async {
            Client::connect(&endpoint, hosts[0].domain).await.ok()
        })
        .await;
        prosody
    }

    pub fn clients(&self) -> Endpoint {
        Endpoint::starttls(SocketAddr::new(self.address, 15222))
    }

    pub fn evidence(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let federation: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("s2s") || line.contains("error"))
            .collect();
        let last = &federation[federation.len().saturating_sub(120)..];
        format!(
            "--- Prosody ---\n{}\n{}",
            self.process.log(),
            last.join("\n")
        )
    }
}

/// A user of an external server.
pub fn external(user: &str, domain: &str) -> Login {
    Login::new(user, domain, PASSWORD)
}
