//! An ejabberd with one domain, without Erlang distribution: no epmd is left behind.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use entente_load::{Client, Endpoint};

use super::{Issued, NameServer, Process, eventually};

const CONFIG: &str = r#"
loglevel: info
hosts: ["@DOMAIN@"]
certfiles: ["@PEM@"]
ca_file: "@CA@"
listen:
  - port: 15222
    ip: "@ADDRESS@"
    module: ejabberd_c2s
    starttls_required: true
  - port: 15269
    ip: "@ADDRESS@"
    module: ejabberd_s2s_in
s2s_use_starttls: required
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
  c2s:
    allow: all
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: infinity
modules:
  mod_blocking: {}
  mod_carboncopy: {}
  mod_disco: {}
  mod_last: {}
  mod_offline: {}
  mod_ping: {}
  mod_privacy: {}
  mod_roster: {versioning: true}
  mod_s2s_dialback: {}
  mod_stream_mgmt: {}
  mod_time: {}
  mod_version: {}
"#;

pub struct Ejabberd {
    pub address: IpAddr,
    process: Process,
    log: PathBuf,
}

impl Ejabberd {
    /// Starts it with the users u1 to u9. `hosts` are the names of our nodes: ejabberd asks its
    /// own resolver for SRV records only, and for addresses the C library's.
    pub async fn start(
        folder: &Path,
        address: IpAddr,
        names: &NameServer,
        ca: &Path,
        domain: &str,
        certificate: &Issued,
        hosts: &[(String, IpAddr)],
    ) -> Self {
        let folder = folder.join(format!("ejabberd-{domain}"));
        std::fs::create_dir_all(&folder).unwrap();
        let text = CONFIG
            .replace("@DOMAIN@", domain)
            .replace("@PEM@", &certificate.both.display().to_string())
            .replace("@CA@", &ca.display().to_string())
            .replace("@ADDRESS@", &address.to_string());
        std::fs::write(folder.join("ejabberd.yml"), text).unwrap();
        let erlang = |address: IpAddr| format!("{{{}}}", address.to_string().replace('.', ","));
        let resolver = format!(
            "{{lookup, [dns]}}.\n{{resolv_conf, \"/dev/null\"}}.\n{{hosts_file, \"/dev/null\"}}.\n\
             {{nameserver, {}, {}}}.\n{{timeout, 1000}}.\n{{retry, 2}}.\n",
            erlang(names.address.ip()),
            names.address.port()
        );
        let mut known = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (host, address) in hosts {
            known.push_str(&format!("\n{address} {host}\n"));
        }
        std::fs::write(folder.join("hosts"), known).unwrap();
        std::fs::write(folder.join("inetrc"), resolver).unwrap();
        let accounts = tokio::process::Command::new(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("load/accounts-xml"),
        )
        .args([domain, "u", "9", "load"])
        .output()
        .await
        .unwrap();
        std::fs::write(folder.join("accounts.xml"), accounts.stdout).unwrap();
        // The hosts file is another one for this process alone.
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "sh",
                "-c",
                "mount --bind hosts /etc/hosts && exec erl \"$@\"",
                "erl",
            ])
            .args([
                "-noinput",
                "+K",
                "true",
                "-env",
                "ERL_CRASH_DUMP_BYTES",
                "0",
                "-mnesia",
                "dir",
            ])
            .arg(format!("\"{}/spool\"", folder.display()))
            .args(["-s", "ejabberd", "-eval"])
            .arg(format!(
                "ok = ejabberd_piefxis:import_file(\"{}/accounts.xml\")",
                folder.display()
            ))
            .env("EJABBERD_CONFIG_PATH", folder.join("ejabberd.yml"))
            .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
            .env("ERL_INETRC", folder.join("inetrc"))
            .env("ERL_LIBS", libraries())
            .env("HOME", &folder)
            .current_dir(&folder);
        let process = Process::start(command, &folder.join("stdout.log"));
        let ejabberd = Self {
            address,
            process,
            log: folder.join("ejabberd.log"),
        };
        let endpoint = ejabberd.clients();
        eventually("ejabberd serves", Duration::from_secs(40), || async {
            Client::session(&endpoint, &super::prosody::external("u9", domain))
                .await
                .ok()
        })
        .await;
        ejabberd
    }

    pub fn clients(&self) -> Endpoint {
        Endpoint::starttls(SocketAddr::new(self.address, 15222))
    }

    pub fn evidence(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "--- ejabberd ---\n{}\n{}",
            self.process.log(),
            lines[lines.len().saturating_sub(80)..].join("\n")
        )
    }
}

/// Where Debian keeps ejabberd's libraries.
fn libraries() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .find(|path| {
            let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
            path.to_string_lossy().ends_with("-linux-gnu")
                && inside
                    .into_iter()
                    .any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
        });
    found.expect("ejabberd's libraries are in /usr/lib/*-linux-gnu")
}
