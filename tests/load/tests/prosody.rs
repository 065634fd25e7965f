//! The generator against a real Prosody, on a loopback address and ports of its own.
//!
//! Needs Prosody and openssl installed, and fails where they are not.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use entente_load::{Client, Endpoint, Login, Mechanism, TlsMode};

/// A Prosody with users u1 to u8 on `a.example`; ends with this value.
struct Prosody {
    process: Child,
    address: SocketAddr,
    direct: SocketAddr,
    directory: PathBuf,
}

impl Prosody {
    async fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("load-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("data")).unwrap();
        let certificate = certificate(&directory);
        let (port, direct) = (free_port(), free_port());
        let config = directory.join("prosody.cfg.lua");
        let text = format!(
            r#"
            run_as_root = true
            pidfile = "{dir}/pid"
            certificates = "{dir}/data"
            data_path = "{dir}/data"
            plugin_paths = {{ "{plugins}" }}
            log = {{ warn = "{dir}/prosody.log" }}
            interfaces = {{ "127.0.0.1" }}
            local_interfaces = {{ "127.0.0.1" }}
            c2s_ports = {{ {port} }}
            c2s_direct_tls_ports = {{ {direct} }}
            s2s_ports = {{}}
            http_ports = {{}}
            https_ports = {{}}
            network_settings = {{ nagle = false }}
            modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "smacks" }}
            modules_disabled = {{ "s2s" }}
            authentication = "internal_hashed"
            c2s_require_encryption = true
            ssl = {{ certificate = "{certificate}.crt", key = "{certificate}.key" }}
            VirtualHost "a.example"
            "#,
            dir = directory.display(),
            plugins = here().join("servers/prosody-modules").display(),
            certificate = certificate.display(),
        );
        std::fs::write(&config, text).unwrap();
        let accounts = Command::new(here().join("accounts-prosody"))
            .arg(&config)
            .args(["a.example", "u", "8", "load"])
            .output()
            .unwrap();
        assert!(accounts.status.success(), "{accounts:?}");
        let prosody = Self {
            process: spawn(&directory),
            address: ([127, 0, 0, 1], port).into(),
            direct: ([127, 0, 0, 1], direct).into(),
            directory,
        };
        prosody.wait_until_it_listens().await;
        prosody
    }

    async fn crash_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.directory);
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&self) {
        for _ in 0..1000 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            // There is no event for 'a child process listens'.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("Prosody does not listen on {}", self.address);
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::starttls(self.address)
    }

    async fn user(&self, number: u32) -> Client {
        let login = Login::new(format!("u{number}"), "a.example", "load").with_resource("test");
        Client::session(&self.endpoint(), &login).await.unwrap()
    }

    fn generator(&self, arguments: &[&str]) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_entente-load"))
            .args(arguments)
            .args(["--json", "-", "--pid", &self.process.id().to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Prosody {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(directory: &Path) -> Child {
    Command::new("prosody")
        .args(["-F", "--config"])
        .arg(directory.join("prosody.cfg.lua"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("prosody must be installed")
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A self-signed certificate; the path without its extension.
fn certificate(directory: &Path) -> PathBuf {
    let path = directory.join("a.example");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=a.example"])
        .args(["-addext", "subjectAltName=DNS:a.example", "-keyout"])
        .arg(path.with_extension("example.key"))
        .arg("-out")
        .arg(path.with_extension("example.crt"))
        .output()
        .expect("openssl must be installed");
    assert!(made.status.success(), "{made:?}");
    path
}

#[tokio::test]
async fn two_seconds_of_local_messages() {
    let prosody = Prosody::start("local").await;
    let address = prosody.address.to_string();
    let report = prosody.generator(&[
        "local",
        "--domain",
        "a.example",
        "--addr",
        &address,
        "--senders",
        "4",
        "--window",
        "4",
        "--warmup",
        "0.2",
        "--seconds",
        "2",
    ]);
    assert!(report["messages"].as_u64().unwrap() > 100, "{report}");
    assert_eq!(report["errors"], 0, "{report}");
    assert!(
        report["cpu_seconds_per_100k"].as_f64().unwrap() > 0.0,
        "{report}"
    );
}

#[tokio::test]
async fn a_steady_second_loses_nothing() {
    let prosody = Prosody::start("steady").await;
    let address = prosody.address.to_string();
    let report = prosody.generator(&[
        "steady",
        "--a-domain",
        "a.example",
        "--a-addr",
        &address,
        "--b-domain",
        "a.example",
        "--b-addr",
        &address,
        "--senders",
        "4",
        "--rate",
        "100",
        "--seconds",
        "1",
    ]);
    for (field, expected) in [
        ("acked", 100),
        ("delivered", 100),
        ("duplicates", 0),
        ("lost", 0),
        ("reordered", 0),
    ] {
        assert_eq!(report[field], expected, "{field}: {report}");
    }
}

#[tokio::test]
async fn after_a_crash_everybody_comes_back_and_every_message_has_its_place() {
    let mut prosody = Prosody::start("crash").await;
    let address = prosody.address.to_string();
    let ready = prosody.directory.join("ready");
    let report = prosody.directory.join("report.json");
    let mut running = tokio::process::Command::new(env!("CARGO_BIN_EXE_entente-load"))
        .args(["steady", "--a-domain", "a.example", "--a-addr", &address])
        .args(["--b-domain", "a.example", "--b-addr", &address])
        .args([
            "--senders",
            "4",
            "--rate",
            "100",
            "--seconds",
            "3",
            "--settle",
            "2",
        ])
        .arg("--ready-file")
        .arg(&ready)
        .arg("--json")
        .arg(&report)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while !ready.exists() {
        assert!(
            running.try_wait().unwrap().is_none(),
            "ended before it began"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    prosody.crash_and_restart().await;
    let status = running.wait().await.unwrap();

    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let count = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(count("acked"), 300, "{report}");
    assert_eq!(
        count("delivered") + count("bounced") - count("delivered_and_bounced") + count("lost"),
        300,
        "{report}"
    );
    assert_eq!(count("connection_breaks"), 8, "{report}");
    assert_eq!(count("bound_anew"), 8, "{report}");
    assert_eq!(status.success(), count("lost") == 0, "{report}");
}

#[tokio::test]
async fn every_mechanism_prosody_offers_logs_in_and_a_wrong_password_does_not() {
    let prosody = Prosody::start("login").await;
    let login = Login::new("u1", "a.example", "load");
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha1] {
        let endpoint = prosody.endpoint().with_mechanism(mechanism);
        let client = Client::session(&endpoint, &login).await.unwrap();
        assert!(
            client.jid().starts_with("u1@a.example/"),
            "{}",
            client.jid()
        );
    }
    let direct = Endpoint::starttls(prosody.direct).with_tls(TlsMode::Direct);
    Client::session(&direct, &login).await.unwrap();

    let wrong = Login::new("u1", "a.example", "wrong");
    let refused = Client::session(&prosody.endpoint(), &wrong)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, entente_load::ClientError::AuthRefused(_)),
        "{refused}"
    );
}

#[tokio::test]
async fn a_broken_stream_resumes_with_what_was_under_way() {
    let prosody = Prosody::start("resume").await;
    let mut juliet = prosody.user(1).await;
    let mut romeo = prosody.user(2).await;
    romeo.enable_sm(true).await.unwrap();
    romeo.send("<presence/>").await.unwrap();
    let second = Duration::from_secs(5);
    romeo.expect(second, |s| s.is("presence")).await.unwrap();
    juliet
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", second)
        .await
        .unwrap();

    let mut state = romeo.into_resume_state();
    juliet
        .send("<message to='u2@a.example' type='chat' id='m1'><body>while away</body></message>")
        .await
        .unwrap();
    juliet
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", second)
        .await
        .unwrap();

    let login = Login::new("u2", "a.example", "load");
    let mut romeo = Client::connect(&prosody.endpoint(), "a.example")
        .await
        .unwrap();
    romeo.authenticate(&login, None).await.unwrap();
    romeo.try_resume(&mut state).await.unwrap();
    assert!(state.is_none(), "resumption refused");
    assert_eq!(romeo.jid(), "u2@a.example/test");
    let message = romeo.expect(second, |s| s.is("message")).await.unwrap();
    assert_eq!(message.attr("id").as_deref(), Some("m1"));
    assert_eq!(message.text_of("body").as_deref(), Some("while away"));
}
