//! Clients of other makes on a node of ours.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{
    CLIENT_PORT, CLIENT_TLS_PORT, Cases, Cluster, PASSWORD, PATIENCE, Settings, case, eventually,
    have, within,
};

const DOMAIN: &str = "lucca.example";
/// The version that the script was written for.
const SLIXMPP: &str = "slixmpp==1.17.0";

#[tokio::test(flavor = "multi_thread")]
async fn clients() {
    let fixture = Arc::new(
        Cluster::start(Settings {
            name: "clients",
            net: 5,
            nodes: 1,
            clustered: false,
            domains: vec![DOMAIN],
            extra: String::new(),
        })
        .await,
    );
    let mut cases = Cases::default();
    cases
        .together(vec![case!(fixture, slixmpp), case!(fixture, go_sendxmpp)])
        .await;
    cases.check(fixture.faults());
    cases.finish(|| fixture.evidence());
}

async fn slixmpp(fixture: Arc<Cluster>) {
    let Some(python) = python().await else { return };
    let (a, b) = (fixture.user("giacomo").await, fixture.user("elvira").await);
    let node = fixture.first();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/conversation.py");
    let talk = Command::new(python)
        .arg(script)
        .args([node.address.to_string(), CLIENT_PORT.to_string()])
        .arg(fixture.authority.certificate())
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
async fn go_sendxmpp(fixture: Arc<Cluster>) {
    if !have("go-sendxmpp", "go-sendxmpp") {
        return;
    }
    let (a, b) = (fixture.user("sender").await, fixture.user("listener").await);
    let node = fixture.first();
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
            .env("SSL_CERT_FILE", fixture.authority.certificate())
            .env("HOME", fixture.folder.path())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        if port == CLIENT_TLS_PORT {
            command.arg("-t");
        }
        command
    };
    let heard = fixture.folder.path().join("heard.txt");
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
