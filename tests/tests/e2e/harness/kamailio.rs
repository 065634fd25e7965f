//! Another organisation's SIP server: a Kamailio that is registrar, presence server and federation
//! edge of one domain.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::talk::{Heard, Talk};
use super::{Authority, Issued};

/// Where its own users register, over UDP and TCP.
pub const USERS_PORT: u16 = 15060;
/// Federation, with mutual TLS; of all SIP servers in the tests.
pub const SIP_TLS_PORT: u16 = 15061;

/// Debian's tables of the text database: only their existence matters, nothing is kept in them.
const TABLES: &str = "/usr/share/kamailio/dbtext/kamailio";

pub struct Kamailio {
    pub address: IpAddr,
    pub domain: String,
    /// What it logs: `registered sip:u@d`, `published sip:u@d`, and a line for each request.
    pub log: Heard,
    _talk: Talk,
}

impl Kamailio {
    /// Starts it. `routes`: foreign domains with the servers that it sends to, the first that
    /// answers; all others are unknown to it. `certificate` is used in both directions, so it must
    /// be good for clients, too ([`Authority::issue_for_both`]). `names`: the hosts that it can find.
    pub async fn start(
        folder: &Path,
        address: IpAddr,
        domain: &str,
        authority: &Authority,
        certificate: &Issued,
        routes: &[(&str, Vec<SocketAddr>)],
        names: &[(&str, IpAddr)],
    ) -> Self {
        let folder = folder.join("kamailio");
        std::fs::create_dir_all(folder.join("dbtext")).unwrap();
        for table in [
            "active_watchers",
            "presentity",
            "version",
            "watchers",
            "xcap",
        ] {
            std::fs::copy(
                Path::new(TABLES).join(table),
                folder.join("dbtext").join(table),
            )
            .unwrap();
        }
        let (mut targets, mut sets) = (String::new(), String::new());
        for (number, (foreign, servers)) in (1..).zip(routes) {
            writeln!(
                sets,
                "    if ($rd == \"{foreign}\") {{ $var(set) = {number}; return 1; }}"
            )
            .unwrap();
            for (server, priority) in servers.iter().zip((0..100).rev()) {
                writeln!(targets, "{number} sip:{server};transport=tls 0 {priority}").unwrap();
            }
        }
        let mut cached = String::new();
        for (name, address) in names {
            writeln!(
                cached,
                r#"    jsonrpc_exec('{{"jsonrpc":"2.0","method":"dns.add_a","params":["{name}",0,"{address}",2],"id":1}}');"#
            )
            .unwrap();
        }
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip/kamailio.cfg");
        let text = std::fs::read_to_string(template)
            .unwrap()
            .replace("@PEERS@", &sets)
            .replace("@NAMES@", &cached)
            .replace("@HOST@", &address.to_string())
            .replace("@DOMAIN@", domain)
            .replace("@DIR@", &folder.display().to_string());
        std::fs::write(folder.join("kamailio.cfg"), text).unwrap();
        std::fs::write(folder.join("peers.list"), targets).unwrap();
        let mutual = format!(
            "method = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\nprivate_key = {}\n\
             certificate = {}\nca_list = {}\n",
            certificate.key.display(),
            certificate.certificate.display(),
            authority.certificate().display()
        );
        let tls = format!("[server:default]\n{mutual}[client:default]\n{mutual}");
        std::fs::write(folder.join("tls.cfg"), tls).unwrap();
        let talk = serve(&folder).await;
        Self {
            address,
            domain: domain.to_owned(),
            log: talk.heard.clone(),
            _talk: talk,
        }
    }

    /// What it said, for a failed test.
    pub fn evidence(&self) -> String {
        format!("--- Kamailio ---\n{}", self.log.last())
    }

    /// Where its users register.
    pub fn users(&self) -> SocketAddr {
        SocketAddr::new(self.address, USERS_PORT)
    }

    /// Where other organisations connect to.
    pub fn federation(&self) -> SocketAddr {
        SocketAddr::new(self.address, SIP_TLS_PORT)
    }
}

/// The process, once its workers run.
async fn serve(folder: &Path) -> Talk {
    let mut command = Command::new("kamailio");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"])
        .arg(folder)
        .arg("-f")
        .arg(folder.join("kamailio.cfg"));
    let mut talk = Talk::start(command, &folder.join("kamailio.log"));
    talk.heard
        .expect("kamailio serves", Duration::from_secs(20))
        .await;
    talk
}
