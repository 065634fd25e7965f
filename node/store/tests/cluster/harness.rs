//! Processes that form a cluster on this machine.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<String, String>>>>>;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with the certificates of a cluster and its nodes' data.
pub(crate) struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let node_key = KeyPair::generate().unwrap();
        let node = CertificateParams::new(vec![
            "localhost".to_owned(),
            entente_store::MEMBER_NAME.to_owned(),
        ])
        .unwrap()
        .signed_by(&node_key, &Issuer::from_params(&ca, &ca_key))
        .unwrap();
        for (name, pem) in [
            ("ca.pem", ca_certificate.pem()),
            ("node.pem", node.pem()),
            ("node.key", node_key.serialize_pem()),
        ] {
            std::fs::write(dir.path().join(name), pem).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A node that has not been started. Its ports are free now and stay its own by luck.
    pub(crate) fn node(&self, name: &str, seeds: &[&Node]) -> Node {
        let listeners: Vec<TcpListener> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        Node {
            name: name.to_owned(),
            dir: self.path().join(name),
            raft: ports[0],
            api: ports[1],
            seeds: seeds.iter().map(|node| node.api).collect(),
            process: None,
            number: AtomicU64::new(1),
        }
    }
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    raft: u16,
    api: u16,
    seeds: Vec<u16>,
    process: Option<Process>,
    number: AtomicU64,
}

struct Process {
    child: Child,
    orders: mpsc::Sender<String>,
    pending: Pending,
}

impl Node {
    /// Starts the process and returns when its store is open.
    pub(crate) async fn start(&mut self) -> Duration {
        let ready = self.launch();
        self.opened(ready).await
    }

    /// Starts the process only.
    pub(crate) fn launch(&mut self) -> (Instant, oneshot::Receiver<Result<String, String>>) {
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("node")
            .arg(&self.name)
            .arg(&self.dir)
            .args([self.raft, self.api].map(|port| port.to_string()))
            .args(self.seeds.iter().map(u16::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (orders, mut queue) = mpsc::channel::<String>(1024);
        let pending = Pending::default();
        let (opened, ready) = oneshot::channel();
        pending.lock().unwrap().insert(0, opened);
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                if stdin.write_all(order.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let answers = Arc::clone(&pending);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut words = line.splitn(3, ' ');
                // The engine prints progress lines of its own while it installs a snapshot.
                let Some(Ok(number)) = words.next().map(str::parse) else {
                    continue;
                };
                let ok = words.next() == Some("ok");
                let value = words.next().unwrap_or_default().to_owned();
                if let Some(waiting) = answers.lock().unwrap().remove(&number) {
                    let _ = waiting.send(if ok { Ok(value) } else { Err(value) });
                }
            }
            // The process is gone: so is everybody's answer.
            answers.lock().unwrap().clear();
        });
        self.process = Some(Process {
            child,
            orders,
            pending,
        });
        (started, ready)
    }

    /// Waits for a launched process to have its store open.
    pub(crate) async fn opened(
        &self,
        (started, ready): (Instant, oneshot::Receiver<Result<String, String>>),
    ) -> Duration {
        timeout(PATIENCE, ready)
            .await
            .unwrap_or_else(|_| panic!("{} does not open", self.name))
            .unwrap_or_else(|_| panic!("{} died while opening", self.name))
            .unwrap();
        started.elapsed()
    }

    /// Moves the running node out; what is left can't be asked.
    pub(crate) fn take(&mut self) -> Node {
        Node {
            name: self.name.clone(),
            dir: self.dir.clone(),
            seeds: self.seeds.clone(),
            process: self.process.take(),
            number: AtomicU64::new(self.number.load(Ordering::Relaxed)),
            ..*self
        }
    }

    /// The power is cut.
    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().child.kill().await.unwrap();
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().child.id().unwrap();
        let status = std::process::Command::new("kill")
            .args([signal, &id.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn api(&self) -> u16 {
        self.api
    }

    /// Whom to ask at the next join.
    pub(crate) fn seeds(&mut self, seeds: &[u16]) {
        self.seeds = seeds.to_vec();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Sends an order and waits for the answer.
    pub(crate) async fn ask(&self, order: &str) -> Result<String, String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let Some(process) = &self.process else {
            return Err("not running".into());
        };
        process.pending.lock().unwrap().insert(number, answer);
        if process
            .orders
            .send(format!("{number} {order}\n"))
            .await
            .is_err()
        {
            return Err("gone".into());
        }
        answered.await.unwrap_or_else(|_| Err("died".into()))
    }

    pub(crate) async fn status(&self) -> Status {
        let status = self.ask("status").await.unwrap();
        let words: Vec<String> = status.split(' ').map(str::to_owned).collect();
        Status {
            leader: words[0].clone(),
            voters: words[1].clone(),
            learners: words[2].clone(),
            healthy: words[3] == "true",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) leader: String,
    pub(crate) voters: String,
    pub(crate) learners: String,
    pub(crate) healthy: bool,
}

/// Asks until the answer is right. Another process can't be awaited, only polled.
pub(crate) async fn until(what: &str, mut right: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !right().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
