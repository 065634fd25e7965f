//! One node as a process.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use entente_load::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::eventually;
use super::{Process, keep_from_settings};

/// The ports of every node: none that a server of this machine may hold on all addresses.
pub const DNS_PORT: u16 = 15353;
pub const CLIENT_PORT: u16 = 15222;
pub const CLIENT_TLS_PORT: u16 = 15223;
pub const PEER_PORT: u16 = 15269;
pub const PEER_TLS_PORT: u16 = 15270;
pub const ADMIN_PORT: u16 = 15290;
pub const GOSSIP_PORT: u16 = 15946;
pub const MESH_PORT: u16 = 15947;
pub const RAFT_PORT: u16 = 15948;
pub const STORE_PORT: u16 = 15949;

/// How long a node may take to be ready.
const START: Duration = Duration::from_secs(30);

/// A node, running or not.
pub struct Node {
    pub name: String,
    pub address: IpAddr,
    pub host: String,
    config: PathBuf,
    log: PathBuf,
    environment: Vec<(String, String)>,
    process: Mutex<Option<Process>>,
}

/// The program under test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("ENTENTE_BIN") {
        return named.into();
    }
    let here = std::env::current_exe().unwrap();
    let beside = here.ancestors().nth(2).unwrap().join("entente");
    assert!(
        beside.exists(),
        "{} is missing: cargo build -p entente, or name it with ENTENTE_BIN",
        beside.display()
    );
    beside
}

impl Node {
    pub fn new(
        name: &str,
        host: &str,
        address: IpAddr,
        config: &Path,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            address,
            host: host.to_owned(),
            config: config.to_path_buf(),
            log: config.with_file_name(format!("{name}.log")),
            environment,
            process: Mutex::new(None),
        }
    }

    /// Starts the process; [`ready`](Self::ready) waits for it.
    pub fn start(&self) {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().cloned());
        *self.process.lock().unwrap() = Some(Process::start(command, &self.log));
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self) -> Duration {
        let what = format!("{} is ready", self.name);
        let waited = eventually(&what, START, || async {
            let ended = self
                .process
                .lock()
                .unwrap()
                .as_mut()
                .and_then(Process::ended);
            assert!(
                ended.is_none(),
                "{} ended ({ended:?}):\n{}",
                self.name,
                tail(&self.log_text())
            );
            match self.get("/readyz").await {
                Some((200, _)) => Some(()),
                _ => None,
            }
        });
        waited.await.1
    }

    pub fn is_running(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    pub fn signal(&self, name: &str) {
        self.process.lock().unwrap().as_ref().unwrap().signal(name);
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let id = self.process.lock().unwrap().as_ref().unwrap().id();
        let text = std::fs::read_to_string(format!("/proc/{id}/statm")).unwrap();
        text.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 4096
    }

    /// SIGTERM, and the end that follows; how long that took.
    pub async fn stop(&self) -> Duration {
        let mut process = self.process.lock().unwrap().take().unwrap();
        let begin = std::time::Instant::now();
        process.signal("TERM");
        let status = process.end(Duration::from_secs(30)).await;
        assert!(status.success(), "{} ended with {status}", self.name);
        begin.elapsed()
    }

    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Client access with STARTTLS.
    pub fn clients(&self) -> Endpoint {
        Endpoint::starttls(self.socket(CLIENT_PORT))
    }

    pub fn admin(&self) -> SocketAddr {
        self.socket(ADMIN_PORT)
    }

    /// One request to the administration: status code and body; `None` when nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.http("GET", path, "").await
    }

    pub async fn http(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let ask = async {
            let mut socket = TcpStream::connect(self.admin()).await.ok()?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                self.admin(),
                body.len()
            );
            socket.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.ok()?;
            let answer = String::from_utf8(answer).ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
        };
        tokio::time::timeout(Duration::from_secs(15), ask)
            .await
            .ok()?
    }

    /// `entente status --json`.
    pub async fn status(&self) -> serde_json::Value {
        let (code, body) = self.get("/status").await.unwrap();
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The command line, asked about this node; `input` goes to its standard input.
    pub async fn command(&self, arguments: &[&str], input: &str) -> Output {
        command(
            &[arguments, &["--admin", &self.admin().to_string()]].concat(),
            input,
        )
        .await
    }

    /// The command line with this node's configuration and environment.
    pub async fn configured(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().cloned())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        keep_from_settings(command.as_std_mut());
        super::within("the command's end", START, command.output())
            .await
            .unwrap()
    }

    /// Adds an account with the password of all.
    pub async fn add_user(&self, jid: &str) {
        let body = serde_json::json!({ "jid": jid, "password": super::PASSWORD }).to_string();
        let answer = self.http("POST", "/users", &body).await.unwrap();
        assert_eq!(answer.0, 201, "{jid}: {}", answer.1);
    }

    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// What the log must never hold, and the process must not have done.
    pub fn faults(&self) -> Vec<String> {
        self.log_text()
            .lines()
            .filter(|line| line.contains("panicked"))
            .map(|line| format!("{} panicked: {line}", self.name))
            .collect()
    }

    /// The end of the log, for a failed test.
    pub fn evidence(&self) -> String {
        format!("--- {} ---\n{}", self.name, tail(&self.log_text()))
    }
}

/// Runs the program under test once.
pub async fn command(arguments: &[&str], input: &str) -> Output {
    let mut command = tokio::process::Command::new(binary());
    keep_from_settings(command.as_std_mut());
    let mut child = command
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be gone already.
    let _closed = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    super::within(
        "the command's end",
        Duration::from_secs(60),
        child.wait_with_output(),
    )
    .await
    .unwrap()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
