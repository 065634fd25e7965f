//! Clients of other makes on a node of ours.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use entente_load::Login;

use crate::harness::{
    CLIENT_PORT, CLIENT_TLS_PORT, Cases, ClientTls, Cluster, Folder, Node, PASSWORD, PATIENCE,
    Profanity, Settings, case, command, eventually, have, within,
};

const DOMAIN: &str = "lucca.example";
/// Its certificate is from the development CA that `entente certs init` makes.
const DEVELOPED: &str = "barga.example";
/// The version that the script was written for.
const SLIXMPP: &str = "slixmpp==1.17.0";

struct Fixture {
    cluster: Cluster,
    certificates: Folder,
}

impl Fixture {
    fn node(&self) -> &Node {
        self.cluster.first()
    }

    /// The development CA.
    fn ca(&self) -> PathBuf {
        self.certificates.path().join("dev-ca.pem")
    }

    /// An account in the domain with the development certificate.
    async fn user(&self, name: &str) -> Login {
        let login = Login::new(name, DEVELOPED, PASSWORD);
        self.node().add_user(&login.bare()).await;
        login
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients() {
    let certificates = Folder::new("clients-certificates");
    let folder = certificates.path().to_str().unwrap();
    let init = ["certs", "init", "--out", folder, "--domains", DEVELOPED];
    let made = command(&init, "").await;
    assert!(made.status.success(), "{made:?}");
    let extra = format!(
        "[domains.\"{DEVELOPED}\"]\n\
         certificate_file = \"{folder}/{DEVELOPED}.pem\"\nprivate_key_file = \"{folder}/{DEVELOPED}.key\"\n"
    );
    let cluster = Cluster::start(Settings {
        name: "clients",
        net: 5,
        nodes: 1,
        clustered: false,
        domains: vec![DOMAIN],
        extra,
    })
    .await;
    let fixture = Arc::new(Fixture {
        cluster,
        certificates,
    });
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(fixture, slixmpp),
            case!(fixture, go_sendxmpp),
            case!(fixture, profanity),
        ])
        .await;
    cases.check(fixture.cluster.faults());
    cases.finish(|| fixture.cluster.evidence());
}

async fn slixmpp(fixture: Arc<Fixture>) {
    let Some(python) = python().await else { return };
    let cluster = &fixture.cluster;
    let (a, b) = (cluster.user("giacomo").await, cluster.user("elvira").await);
    let node = fixture.node();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/conversation.py");
    let talk = Command::new(python)
        .arg(script)
        .args([node.address.to_string(), CLIENT_PORT.to_string()])
        .arg(cluster.authority.certificate())
        .args([a.bare(), b.bare(), PASSWORD.to_owned()])
        .kill_on_drop(true)
        .output();
    let done = within("the end of the conversation", Duration::from_secs(80), talk)
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "after {said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(said.contains("resumed"), "{said}");
}

/// An interpreter with slixmpp, in a virtual environment beside the build. In CI it must be had;
/// elsewhere the reason for skipping is printed.
async fn python() -> Option<PathBuf> {
    let folder = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .join("e2e-venv");
    let python = folder.join("bin/python");
    let has = async || {
        let check = Command::new(&python)
            .args(["-c", "import slixmpp"])
            .stderr(Stdio::null())
            .status()
            .await;
        check.is_ok_and(|status| status.success())
    };
    if has().await {
        return Some(python);
    }
    let script = format!(
        "python3 -m venv {0} && {0}/bin/pip install --quiet {SLIXMPP}",
        folder.display()
    );
    let made = Command::new("sh")
        .args(["-c", &script])
        .output()
        .await
        .unwrap();
    if has().await {
        return Some(python);
    }
    let reason = format!(
        "{SLIXMPP} can't be installed: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("SKIPPED: {reason}");
    None
}

/// One listens, the other sends: over STARTTLS and over direct TLS, with the certificate checked.
async fn go_sendxmpp(fixture: Arc<Fixture>) {
    if !have("go-sendxmpp", "go-sendxmpp") {
        return;
    }
    let (a, b) = (fixture.user("sender").await, fixture.user("listener").await);
    let node = fixture.node();
    let client = |user: &str, port: u16| {
        let mut command = Command::new("go-sendxmpp");
        command
            .args([
                "-u",
                user,
                "-p",
                PASSWORD,
                "-j",
                &format!("{}:{port}", node.address),
            ])
            .env("SSL_CERT_FILE", fixture.ca())
            .env("HOME", fixture.cluster.folder.path())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        if port == CLIENT_TLS_PORT {
            command.arg("-t");
        }
        command
    };
    let heard = fixture.cluster.folder.path().join("heard.txt");
    let mut listener = client(&b.bare(), CLIENT_PORT);
    let file = std::fs::File::create(&heard).unwrap();
    listener
        .arg("-l")
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    let _listener = listener.spawn().unwrap();
    for (port, text) in [
        (CLIENT_PORT, "Grüße over STARTTLS"),
        (CLIENT_TLS_PORT, "Grüße over direct TLS"),
    ] {
        let mut sender = client(&a.bare(), port)
            .arg(b.bare())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sender
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .await
            .unwrap();
        let sent = within("go-sendxmpp sends", 2 * PATIENCE, sender.wait_with_output())
            .await
            .unwrap();
        assert!(
            sent.status.success(),
            "{}",
            String::from_utf8_lossy(&sent.stderr)
        );
        eventually(text, PATIENCE, || async {
            std::fs::read_to_string(&heard)
                .is_ok_and(|heard| heard.contains(text))
                .then_some(())
        })
        .await;
    }
}

/// Two of them, one with STARTTLS and one with direct TLS: login, roster, presence both ways, messages
/// both ways.
async fn profanity(fixture: Arc<Fixture>) {
    if !have("profanity", "profanity") || !have("tmux", "tmux") {
        return;
    }
    let (folder, ca) = (fixture.cluster.folder.path(), fixture.ca());
    let (a, b) = (fixture.user("alma").await, fixture.user("bice").await);
    let (alma, bice) = (a.bare(), b.bare());
    let start = async |login, tls| Profanity::start(folder, fixture.node(), &ca, login, tls).await;
    let (ours, theirs) = tokio::join!(start(&a, ClientTls::Starttls), start(&b, ClientTls::Direct));
    for client in [&ours, &theirs] {
        let log = client.log();
        assert!(
            log.contains("Certificate verification passed")
                && log.contains("SCRAM-SHA-256 auth successful"),
            "{log}"
        );
    }
    ours.say(&format!("/sub request {bice}")).await;
    theirs
        .shows(&format!("Received authorization request from {alma}"))
        .await;
    theirs.say(&format!("/sub allow {alma}")).await;
    theirs.say(&format!("/sub request {alma}")).await;
    ours.shows(&format!("Roster item added: {bice}")).await;
    ours.shows(&format!("++ {bice} (profanity) is online"))
        .await;
    ours.say(&format!("/sub allow {bice}")).await;
    theirs
        .shows(&format!("++ {alma} (profanity) is online"))
        .await;
    theirs.say("/status set away \"in the woods\"").await;
    ours.shows(&format!("++ {bice} (profanity) is away, \"in the woods\""))
        .await;
    ours.say(&format!("/msg {bice} Grüße & <3")).await;
    theirs
        .shows(&format!("<< chat message: {alma}/profanity (win 2)"))
        .await;
    theirs.say("/win 2").await;
    theirs.shows(&format!("{alma}/profanity: Grüße & <3")).await;
    theirs.say("Danke, 世界").await;
    ours.shows(&format!("{bice}/profanity: Danke, 世界")).await;
    theirs.say("/quit").await;
    ours.say("/win 1").await;
    ours.shows(&format!("-- {bice} (profanity) is offline"))
        .await;
}
