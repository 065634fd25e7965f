//! sipp: conversations by script with a stack that is nobody's here. Debian builds it without TLS, so
//! socat stands between.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use super::talk::Talk;
use super::{Authority, Issued, eventually, within};

const ENTRY_PORT: u16 = 15070;
const OWN_PORT: u16 = 15071;

/// A sipp on an address of its own, with a way to one server over TLS.
pub struct Sipp {
    address: IpAddr,
    folder: PathBuf,
    _way: Talk,
}

impl Sipp {
    /// Opens the way. `name` is what the server's certificate must name.
    pub async fn start(
        folder: &Path,
        address: IpAddr,
        server: SocketAddr,
        name: &str,
        authority: &Authority,
        own: &Issued,
    ) -> Self {
        let folder = folder.join(format!("sipp-{address}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("socat");
        command
            .arg(format!(
                "TCP-LISTEN:{ENTRY_PORT},bind={address},reuseaddr,fork"
            ))
            .arg(format!(
                "OPENSSL:{server},bind={address},cert={},key={},cafile={},verify=1,commonname={name},snihost={name}",
                own.certificate.display(),
                own.key.display(),
                authority.certificate().display()
            ));
        let way = Talk::start(command, &folder.join("socat.log"));
        eventually("socat listens", Duration::from_secs(5), || async {
            TcpStream::connect((address, ENTRY_PORT)).await.ok()
        })
        .await;
        Self {
            address,
            folder,
            _way: way,
        }
    }

    /// Runs a script of `tests/sip` so many times, one after the other (two users have one session at
    /// a time); panics if one does not end well.
    /// `from` and `to` are addresses without scheme.
    pub async fn run(&self, script: &str, times: u32, from: &str, to: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("sip")
            .join(script);
        let errors = self.folder.join(format!("{script}.errors"));
        let times = times.to_string();
        let run = Command::new("sipp")
            .current_dir(&self.folder)
            .arg(format!("{}:{ENTRY_PORT}", self.address))
            .arg("-sf")
            .arg(path)
            .args(["-m", &times, "-l", "1", "-r", "50", "-t", "t1"])
            .args(["-i", &self.address.to_string(), "-p", &OWN_PORT.to_string()])
            .args(["-key", "from", from, "-key", "to", to])
            .args(["-nostdin", "-timeout", "20", "-timeout_error", "-trace_err"])
            .arg("-error_file")
            .arg(&errors)
            .kill_on_drop(true)
            .output();
        let done = within("the end of sipp", Duration::from_secs(30), run)
            .await
            .unwrap();
        let trace = std::fs::read_to_string(&errors).unwrap_or_default();
        assert!(
            done.status.success(),
            "{script}: {}\n{trace}\n{}",
            done.status,
            String::from_utf8_lossy(&done.stdout)
        );
    }
}
