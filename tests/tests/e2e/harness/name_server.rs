//! The resolver of everybody: an unbound that knows the external domains itself and asks our own
//! publishers for ours.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::node::DNS_PORT;
use super::{Process, dig, eventually};

/// The port of the federation streams of all external servers.
const EXTERNAL_PORT: u16 = 15269;

pub struct NameServer {
    pub address: SocketAddr,
    process: Process,
}

impl NameServer {
    /// `external`: domains with their server's address; `ours`: our domain with its name servers;
    /// `records`: more of them, in the format of zone files. No other name below `example` exists.
    pub async fn start(
        folder: &Path,
        address: IpAddr,
        external: &[(&str, IpAddr)],
        ours: (&str, &[IpAddr]),
        records: &[String],
    ) -> Self {
        let mut text = format!(
            "server:\n interface: {address}@{DNS_PORT}\n access-control: 127.0.0.0/8 allow\n\
             do-not-query-localhost: no\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n\
             directory: \"{dir}\"\n pidfile: \"{dir}/unbound.pid\"\n use-syslog: no\n logfile: \"\"\n\
             module-config: \"iterator\"\n cache-max-ttl: 1\n cache-max-negative-ttl: 1\n\
             num-threads: 1\n local-zone: \"example.\" static\n local-zone: \"{ours}.\" transparent\n",
            dir = folder.display(),
            ours = ours.0
        );
        for (domain, server) in external {
            writeln!(
                text,
                " local-data: \"_xmpp-server._tcp.{domain}. 1 IN SRV 0 1 {EXTERNAL_PORT} host.{domain}.\"\n \
                 local-data: \"host.{domain}. 1 IN A {server}\""
            )
            .unwrap();
        }
        for record in records {
            writeln!(text, " local-data: {record:?}").unwrap();
        }
        writeln!(
            text,
            "remote-control:\n control-enable: no\nstub-zone:\n name: \"{}\"",
            ours.0
        )
        .unwrap();
        for server in ours.1 {
            writeln!(text, " stub-addr: {server}@{DNS_PORT}").unwrap();
        }
        let file = folder.join("unbound.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("unbound");
        command
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .arg("-d")
            .arg("-c")
            .arg(&file);
        let process = Process::start(command, &folder.join("unbound.log"));
        let asked = format!("_xmpp-server._tcp.{}", external[0].0);
        eventually("unbound answers", Duration::from_secs(10), || async {
            (!dig(address, &asked, "SRV").await.is_empty()).then_some(())
        })
        .await;
        Self {
            address: SocketAddr::new(address, DNS_PORT),
            process,
        }
    }

    pub fn evidence(&self) -> String {
        format!("--- unbound ---\n{}", self.process.log())
    }
}
