//! The name server as other people's software sees it: dig, unbound as a resolver in front, dnsperf.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use entente_dns_publisher::{
    DnsConfig, DnsHandle, DnsName, DnsServer, PublishPlan, Published, PublishedNode, RecordSet,
    Serial, Service, ServicePorts,
};
use tokio::sync::watch;

const XMPP: &str = "_xmpp-server._tcp.example.com";

fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

fn published(node_count: u8) -> Published {
    let zones = vec![name("example.com"), name("nodes.example.net")];
    let plan = PublishPlan::new(
        zones,
        vec![name("example.com")],
        name("hostmaster.example.com"),
    );
    let node = |number: u8| PublishedNode {
        name: format!("n{number}"),
        host: name(&format!("n{number}.nodes.example.net")),
        public: vec![[192, 0, 2, number].into()],
        private: vec![],
        services: Service::ALL.into_iter().collect(),
        ports: ServicePorts::default(),
        started: 0,
    };
    let nodes: Vec<PublishedNode> = (1..=node_count).map(node).collect();
    Published {
        records: Some(Arc::new(RecordSet::build(&plan, &nodes, None))),
        serial: Serial(2026),
        isolated: false,
    }
}

fn start(node_count: u8) -> (DnsHandle, watch::Sender<Arc<Published>>) {
    let mut config = DnsConfig::new(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
    config.rrl.exempt = vec!["127.0.0.0/8".parse().unwrap()];
    let (sender, published) = watch::channel(Arc::new(published(node_count)));
    (DnsServer::start(config, published).unwrap(), sender)
}

/// The tool's path. Missing: an error in CI, a note elsewhere.
#[expect(clippy::print_stderr, reason = "says why a test was skipped")]
fn tool(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|place| place.join(tool)).find(|p| p.is_file());
    if found.is_none() {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{tool} is not installed");
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a tool off the runtime's threads, which the server needs.
async fn output(mut command: Command) -> String {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

async fn dig(dig: &Path, server: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new(dig);
    command
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+tries=3", "+time=5"])
        .args(arguments);
    output(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_sees_a_well_behaved_server() {
    let Some(tool) = tool("dig") else { return };
    let (server, _publisher) = start(3);
    let address = server.addresses()[0];
    for (arguments, expected) in [
        (
            &[XMPP, "SRV"][..],
            &[
                "status: NOERROR",
                "flags: qr aa rd;",
                "ANSWER: 3",
                "ADDITIONAL: 4",
                "EDNS: version: 0, flags:; udp: 1232",
                "10 10 5269 n2.nodes.example.net.",
            ][..],
        ),
        (&[XMPP, "SRV", "+tcp"], &["status: NOERROR", "ANSWER: 3"]),
        (&[XMPP, "A"], &["status: NOERROR", "ANSWER: 0", "IN\tSOA\t"]),
        (
            &["nope.example.com", "A"],
            &["status: NXDOMAIN", "IN\tSOA\t"],
        ),
        (&["example.org", "A"], &["status: REFUSED"]),
        (&["version.bind", "CH", "TXT"], &["status: REFUSED"]),
        (&["example.com", "ANY", "+notcp"], &["ANSWER: 1"]),
        (&["example.com", "AXFR"], &["Transfer failed"]),
        (&["example.com", "IXFR=1", "+tcp"], &["Transfer failed"]),
        (
            &["example.com", "SOA", "+opcode=notify"],
            &["status: NOTIMP"],
        ),
        (
            &[XMPP, "SRV", "+edns=1", "+noednsnegotiation"],
            &["status: BADVERS"],
        ),
        (
            &[XMPP, "SRV", "+dnssec", "+cookie", "+nsid", "+padding=64"],
            &["status: NOERROR", "flags: do;"],
        ),
    ] {
        let seen = dig(&tool, address, arguments).await;
        assert!(!seen.contains("WARNING: Message parser"), "{seen}");
        for part in expected {
            assert!(seen.contains(part), "{arguments:?}: no {part:?} in\n{seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_turns_to_tcp_for_a_long_answer() {
    let Some(tool) = tool("dig") else { return };
    let (server, _publisher) = start(60);
    let seen = dig(&tool, server.addresses()[0], &[XMPP, "SRV"]).await;
    assert!(seen.contains("Truncated, retrying in TCP mode"), "{seen}");
    assert!(seen.contains("ANSWER: 60"), "{seen}");
}

/// An unbound that forwards our zones to the server, with the strictest checks on.
struct Unbound {
    process: Child,
    /// Kept open: a closed pipe would end the process.
    #[expect(dead_code, reason = "held, not read")]
    log: BufReader<ChildStderr>,
    directory: PathBuf,
    address: SocketAddr,
}

impl Unbound {
    async fn start(tool: &Path, server: SocketAddr) -> Self {
        let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let number = std::process::id();
        let directory = std::env::temp_dir().join(format!("entente-unbound-{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        let config = directory.join("unbound.conf");
        std::fs::write(&config, unbound_config(&directory, address, server)).unwrap();
        let mut process = Command::new(tool)
            .args(["-d", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let ready = tokio::task::spawn_blocking(move || {
            let mut seen = String::new();
            while !seen.contains("start of service") {
                let read = log.read_line(&mut seen).unwrap();
                assert!(read > 0, "unbound did not start: {seen}");
            }
            log
        });
        Self {
            log: ready.await.unwrap(),
            process,
            directory,
            address,
        }
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn unbound_config(directory: &Path, address: SocketAddr, server: SocketAddr) -> String {
    let directory = directory.display();
    let mut config = format!(
        "server:\n  verbosity: 1\n\
         \x20 interface: {ip}@{port}\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n\
         \x20 directory: \"{directory}\"\n  pidfile: \"{directory}/unbound.pid\"\n\
         \x20 use-syslog: no\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n\
         \x20 use-caps-for-id: yes\n  harden-large-queries: yes\n  qname-minimisation: yes\n\
         \x20 qname-minimisation-strict: yes\n  num-threads: 1\n\
         remote-control:\n  control-enable: no\n",
        ip = address.ip(),
        port = address.port(),
    );
    for zone in ["example.com", "nodes.example.net"] {
        config += &format!(
            "stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n",
            server.ip(),
            server.port()
        );
    }
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn unbound_resolves_through_the_server() {
    let (Some(unbound), Some(tool)) = (tool("unbound"), tool("dig")) else {
        return;
    };
    let (server, publisher) = start(3);
    let resolver = Unbound::start(&unbound, server.addresses()[0]).await;
    let srv = dig(&tool, resolver.address, &[XMPP, "SRV"]).await;
    assert!(
        srv.contains("status: NOERROR") && srv.contains("ANSWER: 3"),
        "{srv}"
    );
    let host = dig(&tool, resolver.address, &["n1.nodes.example.net", "A"]).await;
    assert!(host.contains("192.0.2.1"), "{host}");
    let absent = dig(&tool, resolver.address, &["nope.example.com", "A"]).await;
    assert!(absent.contains("status: NXDOMAIN"), "{absent}");
    let other_type = dig(&tool, resolver.address, &[XMPP, "TXT"]).await;
    assert!(other_type.contains("status: NOERROR"), "{other_type}");
    let many = dig(
        &tool,
        resolver.address,
        &["_sips._tcp.example.com", "SRV", "+tcp"],
    )
    .await;
    assert!(many.contains("ANSWER: 3"), "{many}");

    // Isolated: the resolver gets SERVFAIL for what it does not have yet.
    let mut isolated = published(3);
    isolated.isolated = true;
    publisher.send_replace(Arc::new(isolated));
    let failed = dig(&tool, resolver.address, &["n3.nodes.example.net", "A"]).await;
    assert!(failed.contains("status: SERVFAIL"), "{failed}");
}

/// Queries a second. Run alone and with `--release`:
/// `cargo test -p entente-dns-publisher --release --test tools -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: needs a release build and an otherwise idle machine"]
#[expect(clippy::print_stdout, reason = "prints what it measured")]
async fn dnsperf_measures_queries_per_second() {
    let Some(tool) = tool("dnsperf") else { return };
    let (server, _publisher) = start(3);
    let address = server.addresses()[0];
    let directory = std::env::temp_dir();
    let queries = directory.join(format!("entente-dnsperf-{}", std::process::id()));
    let lines = format!(
        "{XMPP} SRV\nn1.nodes.example.net A\n_xmpps-server._tcp.example.com SRV\nnope.example.com A\n"
    );
    std::fs::write(&queries, lines).unwrap();
    let mut command = Command::new(tool);
    command
        .args([
            "-s",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ])
        .arg("-d")
        .arg(&queries)
        .args(["-l", "5", "-c", "8", "-q", "200", "-e"]);
    let seen = output(command).await;
    std::fs::remove_file(&queries).unwrap();
    println!("{seen}");
    let rate = seen
        .lines()
        .find_map(|line| line.trim().strip_prefix("Queries per second:"))
        .and_then(|rate| rate.trim().parse::<f64>().ok())
        .expect("dnsperf prints a rate");
    if !cfg!(debug_assertions) {
        assert!(rate >= 40_000.0, "{rate} queries a second");
    }
    tokio::time::timeout(Duration::from_secs(5), server.shutdown())
        .await
        .expect("it stops");
}
