//! The lab of deploy/, driven from a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::since;

const PROJECT: &str = "entente-faults";
const NETWORK: &str = "172.31.251";
const PASSWORD: &str = "load";
const PAIRS: u32 = 20;

/// Three nodes and a partner, gone when this drops.
pub(crate) struct Lab {
    root: PathBuf,
    state: PathBuf,
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Users of the cluster among themselves.
    Inside,
    /// Users of the cluster to users of the partner.
    ToPartner,
    /// The other way round.
    FromPartner,
}

/// A load that runs.
pub(crate) struct Running {
    child: Child,
    resolver: String,
}

/// What the load generator counted.
pub(crate) struct Outcome(serde_json::Value);

impl Outcome {
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0[name]
            .as_f64()
            .unwrap_or_else(|| panic!("the load report has no {name}: {}", self.0))
    }
}

impl Lab {
    /// Brings everything up, with accounts.
    pub(crate) fn up() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let state = std::env::temp_dir().join(format!("{PROJECT}-{}", std::process::id()));
        let lab = Self { root, state };
        lab.script("down", &[]);
        lab.script("up", &["--no-talk", "--nodes", "3"]);
        let load = Path::new(&binary()).with_file_name("entente-load");
        assert!(
            load.exists(),
            "{} is not built: cargo build --workspace --bins",
            load.display()
        );
        docker(&[
            "cp",
            &load.to_string_lossy(),
            &format!("{}:/usr/local/bin/entente-load", lab.one("resolver")),
        ]);
        let accounts = format!(
            "i=1; while [ $i -le {} ]; do echo {PASSWORD} | /usr/local/bin/entente user add u$i@example.internal || exit 1; i=$((i+1)); done",
            2 * PAIRS
        );
        docker(&["exec", &lab.nodes()[0], "sh", "-c", &accounts]);
        let accounts = format!(
            "i=1; while [ $i -le {} ]; do setpriv --reuid prosody --regid prosody --clear-groups prosodyctl --config /var/lib/prosody/prosody.cfg.lua register u$i partner.internal {PASSWORD} || exit 1; i=$((i+1)); done",
            2 * PAIRS
        );
        docker(&["exec", &lab.one("partner"), "sh", "-c", &accounts]);
        lab.until_whole(3);
        lab
    }

    /// Names of the running nodes.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.containers("first", false);
        names.extend(self.containers("node", false));
        names
    }

    /// Every node with the time at which its container started.
    pub(crate) fn started_at(&self) -> Vec<(String, String)> {
        self.nodes()
            .into_iter()
            .map(|node| {
                let at = docker(&["inspect", "--format", "{{.State.StartedAt}}", &node]);
                (node, at.trim().to_owned())
            })
            .collect()
    }

    /// The node that leads the store.
    pub(crate) fn store_leader(&self) -> String {
        let status = self.entente(&self.nodes()[0], &["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let leader = status["store"]["leader"]
            .as_str()
            .unwrap_or_else(|| panic!("no leader: {status}"))
            .to_owned();
        self.nodes()
            .into_iter()
            .find(|node| self.id_of(node) == leader)
            .unwrap()
    }

    /// Starts load and returns when it runs steadily.
    pub(crate) fn start_load(&self, load: Load, seconds: u32) -> Running {
        let ours: Vec<String> = self
            .nodes()
            .iter()
            .map(|node| format!("{}:5222", address(node)))
            .collect();
        let ours = ("example.internal", ours.join(","));
        let theirs = (
            "partner.internal",
            format!("{}:5222", address(&self.one("partner"))),
        );
        let (from, to) = match load {
            Load::Inside => (ours.clone(), ours),
            Load::ToPartner => (ours, theirs),
            Load::FromPartner => (theirs, ours),
        };
        let resolver = self.one("resolver");
        docker(&[
            "exec",
            &resolver,
            "rm",
            "-f",
            "/tmp/ready",
            "/tmp/report.json",
        ]);
        let child = Command::new("docker")
            .args([
                "exec",
                &resolver,
                "entente-load",
                "steady",
                "--a-domain",
                from.0,
                "--a-addr",
                &from.1,
            ])
            .args([
                "--b-domain",
                to.0,
                "--b-addr",
                &to.1,
                "--rate",
                "200",
                "--senders",
                &PAIRS.to_string(),
            ])
            .args([
                "--seconds",
                &seconds.to_string(),
                "--settle",
                "8",
                "--ready-file",
                "/tmp/ready",
                "--json",
                "/tmp/report.json",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        poll("the load runs", Duration::from_secs(30), || {
            Command::new("docker")
                .args(["exec", &resolver, "test", "-e", "/tmp/ready"])
                .status()
                .is_ok_and(|status| status.success())
        });
        // Three seconds of undisturbed traffic first.
        pause(Duration::from_secs(3));
        Running { child, resolver }
    }

    /// kill -9.
    pub(crate) fn kill(&self, node: &str) {
        docker(&["kill", "--signal", "KILL", node]);
    }

    /// Starts a killed node and waits until all is as before.
    pub(crate) fn start(&self, node: &str) {
        docker(&["start", node]);
        self.until_whole(self.nodes().len());
    }

    /// SIGTERM, and how long the node takes to end.
    pub(crate) fn stop(&self, node: &str) -> Duration {
        let began = now();
        docker(&["stop", "--time", "60", node]);
        since(began)
    }

    /// Waits until a drain that was undone is forgotten.
    pub(crate) fn undrain(&self, node: &str) {
        self.entente(node, &["undrain"]);
        self.until_whole(self.nodes().len());
    }

    /// Starts one more node and touches nothing else, not even a dead one; its name, when it is ready.
    pub(crate) fn one_more(&self) -> String {
        let before = self.containers("node", true);
        let file = self.root.join("deploy/docker-compose.yml");
        let scale = format!("node={}", before.len() + 1);
        let output = Command::new("docker-compose")
            .args(["--project-name", PROJECT, "--file"])
            .arg(file)
            .args(["up", "--detach", "--no-recreate", "--no-deps", "--scale"])
            .args([&scale, "node"])
            .envs(surroundings())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let newcomer = self
            .containers("node", true)
            .into_iter()
            .find(|name| !before.contains(name))
            .unwrap();
        poll("the newcomer is ready", Duration::from_secs(60), || {
            let ready = Command::new("docker")
                .args(["exec", &newcomer, "/usr/local/bin/entente", "ready"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            ready.is_ok_and(|status| status.success())
        });
        newcomer
    }

    /// Adds nodes up to `count`.
    pub(crate) fn scale(&self, count: usize) {
        self.script("up", &["--no-talk", "--nodes", &count.to_string()]);
        self.until_whole(count);
    }

    /// Waits until no surviving name server names `node`; how long after `began` that was.
    pub(crate) fn dns_without(&self, node: &str, began: Instant, limit: Duration) -> Duration {
        let target = format!("{}.example.internal.", self.id_of(node));
        let mut survivors: Vec<String> = self
            .nodes()
            .into_iter()
            .filter(|other| other != node)
            .map(|other| address(&other))
            .collect();
        while !survivors.is_empty() {
            survivors.retain(|server| {
                let answer = self.srv(server);
                answer.is_empty() || answer.contains(&target)
            });
            let elapsed = since(began);
            assert!(
                survivors.is_empty() || elapsed <= limit,
                "{survivors:?} still name {target} after {elapsed:?}"
            );
            if survivors.is_empty() {
                return elapsed;
            }
            pause(Duration::from_millis(50));
        }
        since(began)
    }

    /// Runs a command of the program at a node.
    pub(crate) fn entente(&self, node: &str, arguments: &[&str]) -> String {
        let mut all = vec!["exec", node, "/usr/local/bin/entente"];
        all.extend(arguments);
        docker(&all)
    }

    fn until_whole(&self, count: usize) {
        poll(
            "all nodes are ready and in DNS",
            // One that left a few times must be back for a while before DNS names it.
            Duration::from_secs(120),
            || {
                let nodes = self.nodes();
                nodes.len() == count
                    && nodes.iter().all(|node| {
                        let ready = Command::new("docker")
                            .args(["exec", node, "/usr/local/bin/entente", "ready"])
                            .stdout(Stdio::null())
                            .stderr(Stdio::null())
                            .status();
                        ready.is_ok_and(|status| status.success())
                            && self.srv(&address(node)).lines().count() == count
                    })
            },
        );
    }

    /// The SRV answer of one name server, empty if it gives none.
    fn srv(&self, server: &str) -> String {
        let resolver = self.one("resolver");
        let output = Command::new("docker")
            .args([
                "exec",
                &resolver,
                "dig",
                "+short",
                "+time=1",
                "+tries=1",
                &format!("@{server}"),
            ])
            .args(["SRV", "_xmpp-server._tcp.example.internal"])
            .output()
            .unwrap();
        if output.status.success() {
            String::from_utf8_lossy(&output.stdout).into_owned()
        } else {
            String::new()
        }
    }

    /// The id that a node's container has as host name.
    fn id_of(&self, node: &str) -> String {
        docker(&["inspect", "--format", "{{.Config.Hostname}}", node])
            .trim()
            .to_owned()
    }

    fn one(&self, service: &str) -> String {
        self.containers(service, false)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{service} does not run"))
    }

    fn containers(&self, service: &str, all: bool) -> Vec<String> {
        let mut arguments = vec!["ps", "--format", "{{.Names}}"];
        if all {
            arguments.push("--all");
        }
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let service = format!("label=com.docker.compose.service={service}");
        arguments.extend(["--filter", &project, "--filter", &service]);
        let mut names: Vec<String> = docker(&arguments).lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    fn script(&self, name: &str, arguments: &[&str]) {
        let output = Command::new(self.root.join("deploy").join(name))
            .args(arguments)
            .env("ENTENTE_BINARY", binary())
            .env("ENTENTE_PROJECT", PROJECT)
            .env("ENTENTE_STATE", &self.state)
            .envs(surroundings())
            .env_remove("ENTENTE_BIN")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "deploy/{name} {arguments:?} failed:\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self
                .containers("first", true)
                .into_iter()
                .chain(self.containers("node", true))
            {
                let logs = Command::new("docker")
                    .args(["logs", "--tail", "60", &node])
                    .output();
                if let Ok(logs) = logs {
                    println!("--- {node}\n{}", String::from_utf8_lossy(&logs.stderr));
                }
            }
        }
        if std::env::var_os("KEEP_LAB").is_none() {
            self.script("down", &[]);
        }
        let _gone = std::fs::remove_dir_all(&self.state);
    }
}

impl Running {
    /// Waits for the end of the load.
    pub(crate) fn finish(mut self) -> Outcome {
        poll("the load ends", Duration::from_secs(120), || {
            self.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let report = docker(&["exec", &self.resolver, "cat", "/tmp/report.json"]);
        Outcome(serde_json::from_str(&report).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What the compose file is told.
fn surroundings() -> [(&'static str, &'static str); 4] {
    [
        ("ENTENTE_NETWORK", NETWORK),
        ("ENTENTE_CLIENT_PORT", "15222"),
        ("ENTENTE_CLIENT_TLS_PORT", "15223"),
        ("ENTENTE_DNS_PORT", "15300"),
    ]
}

fn binary() -> String {
    std::env::var("ENTENTE_BIN")
        .unwrap_or_else(|_| panic!("ENTENTE_BIN names no binary: run tests/run, which builds it"))
}

fn address(container: &str) -> String {
    docker(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        container,
    ])
    .trim()
    .to_owned()
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap_or_else(|error| {
        panic!("docker does not run ({error}): install it, or set TEST_CONTAINERS=no to go without these tests")
    });
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn poll(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let began = now();
    while !done() {
        assert!(since(began) < patience, "{what}: not after {patience:?}");
        pause(Duration::from_millis(200));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "containers give no event to wait for: they are asked again"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(
    clippy::disallowed_methods,
    reason = "what happens in containers is timed for real"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
