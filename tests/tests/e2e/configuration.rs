//! A wrong configuration is told with file, key and cure; nothing starts with one.

use std::path::Path;

use crate::harness::{Authority, Folder, command};

/// Files of a good single node in `folder`, and its configuration.
fn good(folder: &Path) -> String {
    let authority = Authority::new(&folder.join("ca"));
    authority.issue("a.example", &["a.example"]);
    authority.issue("other.example", &["other.example"]);
    "[node]\nid = \"lone\"\ndata_dir = \"data\"\n\
     [domains.\"a.example\"]\ncertificate_file = \"ca/a.example.pem\"\nprivate_key_file = \"ca/a.example.key\"\n"
        .to_owned()
}

async fn check(folder: &Path, text: &str) -> (bool, String) {
    let file = folder.join("entente.toml");
    std::fs::write(&file, text).unwrap();
    let output = command(&["config", "check", "--config", file.to_str().unwrap()], "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test]
async fn faults_are_told_with_file_key_and_cure() {
    let folder = Folder::new("config");
    let good = good(folder.path());
    let (fine, said) = check(folder.path(), &good).await;
    assert!(fine && said.contains("good for node lone"), "{said}");
    // Domains below a domain are others (F8): no conflict.
    let neighbours = "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.partner]\ndomains = [\"b.example\", \"sub.a.example\"]\n\
         [federation.domains.\"im.b.example\"]\n";
    let (fine, said) = check(folder.path(), &format!("{good}{neighbours}")).await;
    assert!(fine, "{said}");
    // What is added to the good file, and what must be said besides the file's name.
    let table: &[(&str, &[&str])] = &[
        (
            "[client]\nlisen = [\"127.0.0.1:1\"]",
            &["client.lisen", "did you mean `listen`"],
        ),
        ("[clients]\nlisten = []", &["clients"]),
        (
            "[xmpp]\nqueue_seconds = 0",
            &["xmpp.queue_seconds", "1 to 3600"],
        ),
        (
            "[client]\nidle_seconds = \"long\"",
            &["client.idle_seconds", "invalid type"],
        ),
        (
            "[client]\nlisten = [\"localhost\"]",
            &["client.listen", "localhost", "0.0.0.0:5222"],
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:9290\"",
            &["admin.listen", "loopback"],
        ),
        ("[dns]\nmode = \"some\"", &["dns.mode", "subset"]),
        ("[log]\nformat = \"xml\"", &["log.format", "text, json"]),
        (
            "[federation.domains.\"a.example\"]\npolicy = \"deny\"",
            &["federation.domains.\"a.example\"", "local domain"],
        ),
        (
            "[domains.\"b.example\"]\ncertificate_file = \"no.pem\"\nprivate_key_file = \"no.key\"",
            &["b.example", "no.pem", "No such file"],
        ),
        (
            "[domains.\"b.example\"]\ncertificate_file = \"ca/other.example.pem\"\nprivate_key_file = \"ca/other.example.key\"",
            &["ca/other.example.pem", "b.example"],
        ),
        (
            "[domains.\"other.example\"]\ncertificate_file = \"ca/other.example.pem\"\nprivate_key_file = \"ca/a.example.key\"",
            &["a.example.key"],
        ),
        (
            "[cluster]\nseeds = [\"n1:7946\"]",
            &["cluster.key_file", "missing"],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]",
            &["sip.host", "missing"],
        ),
        (
            "[sip.peer.partner]\ndomains = [\"b.example\"]",
            &["sip.listen", "sip.peer"],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.partner]\ndomains = [\"b.example\"]\n\
             [federation.domains.\"b.example\"]\ntls = \"required\"",
            &[
                "sip.peer.partner.domains",
                "b.example",
                "federation.domains.\"b.example\"",
                "one protocol",
                "remove",
            ],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.one]\ndomains = [\"b.example\"]\n\
             [sip.peer.two]\ndomains = [\"B.example\"]",
            &["sip.peer.two.domains", "sip.peer.one.domains"],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.one]\ndomains = [\"a.example\"]",
            &["sip.peer.one.domains", "local domain"],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.one]\nprofil = \"aol\"",
            &["sip.peer.one.profil", "did you mean `profile`"],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5061\"]\nhost = \"a.example\"\n[sip.peer.lab]\ndomains = [\"b.example\"]\n\
             transport = \"tcp\"\ntargets = [\"host.example:5060\"]",
            &["sip.peer.lab.targets", "IP addresses"],
        ),
        ("not toml at all", &["entente.toml"]),
    ];
    for (added, wanted) in table {
        let (fine, said) = check(folder.path(), &format!("{good}{added}\n")).await;
        assert!(!fine, "accepted: {added}");
        for word in wanted.iter().chain(&["entente.toml", ":"]) {
            // A fault in a certificate names that file instead.
            let other_file =
                *word == "entente.toml" && said.contains(".pem") || said.contains(".key");
            assert!(
                said.contains(word) || other_file,
                "{added}: `{word}` is not in: {said}"
            );
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    // All faults in one go.
    let (_, said) = check(
        folder.path(),
        &format!("{good}[client]\nidle_seconds = 1\n[xmpp]\nqueue_seconds = 0\n"),
    )
    .await;
    assert!(
        said.contains("client.idle_seconds") && said.contains("xmpp.queue_seconds"),
        "{said}"
    );
}

#[tokio::test]
async fn keys_that_everybody_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("config-mode");
    let good = good(folder.path());
    let key = folder.path().join("ca/a.example.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (fine, said) = check(folder.path(), &good).await;
    assert!(
        !fine && said.contains("a.example.key") && said.contains("chmod 0400"),
        "{said}"
    );
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let folder = Folder::new("config-show");
    let text = good(folder.path());
    let file = folder.path().join("entente.toml");
    std::fs::write(&file, text).unwrap();
    let output = command(&["config", "show", "--config", file.to_str().unwrap()], "").await;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("a.example"),
        "{shown}"
    );
    let key = std::fs::read_to_string(folder.path().join("ca/a.example.key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(!shown.contains(line) && !shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let folder = Folder::new("config-port");
    let text = good(folder.path());
    let taken = std::net::TcpListener::bind("127.61.9.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = folder.path().join("entente.toml");
    std::fs::write(
        &file,
        format!("{text}[client]\nlisten = [\"127.61.9.1:{port}\"]\n"),
    )
    .unwrap();
    let output = command(&["run", "--config", file.to_str().unwrap()], "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains(&port.to_string()) && said.contains("in use"),
        "{said}"
    );
}
