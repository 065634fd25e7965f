//! A wrong configuration is told with file, key and cure; nothing starts with one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Authority, Folder, binary, command, have, keep_from_settings};

/// Files of a good single node in `folder`, and its configuration.
fn good(folder: &Path) -> String {
    let authority = Authority::new(&folder.join("ca"));
    authority.issue("a.example", &["a.example"]);
    authority.issue("other.example", &["other.example"]);
    std::fs::write(folder.join("cluster.key"), "0b".repeat(32)).unwrap();
    std::fs::copy(folder.join("ca/ca.pem"), folder.join("ca/no.key")).unwrap();
    for secret in ["cluster.key", "ca/no.key"] {
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.join(secret), mode).unwrap();
    }
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
            &[
                "domains.\"other.example\"",
                "a.example.key",
                "do not belong together",
                "name the key",
            ],
        ),
        (
            "[domains.\"other.example\"]\ncertificate_file = \"ca/other.example.pem\"\nprivate_key_file = \"ca/no.key\"",
            &["ca/no.key", "no private key", "openssl pkey"],
        ),
        (
            "[domains.\"b.example\"]\ncertificate_file = \"ca\"\nprivate_key_file = \"ca/a.example.key\"",
            &[
                "domains.\"b.example\".certificate_file",
                "is a folder",
                "name the file in it",
            ],
        ),
        (
            "[domains.\"b.example\"]\ncertificate_file = \"ca/{id}.pem\"\nprivate_key_file = \"ca/a.example.key\"",
            &["{id}.pem", "taken as they are", "environment"],
        ),
        (
            "[cluster]\nseeds = [\"n1:7946\"]\nkey_file = \"ca/no.key\"\nca_file = \"ca/ca.pem\"\nca_key_file = \"ca/ca.key\"",
            &["cluster.key_file", "64 hexadecimal digits"],
        ),
        (
            "[cluster]\nseeds = [\"n1:7946\"]\nkey_file = \"cluster.key\"\nca_file = \"ca/ca.pem\"\nca_key_file = \"ca/a.example.key\"",
            &[
                "cluster.ca_key_file",
                "a.example.key is not the key of",
                "one CA",
            ],
        ),
        (
            "[cluster]\nseeds = [\"n1:7946\"]\nkey_file = \"cluster.key\"\nca_file = \"ca/ca.pem\"\nca_key_file = \"ca/no.key\"",
            &["cluster.ca_key_file", "ca/no.key", "no private key"],
        ),
        (
            "[sip]\naddresses = [\"ann\"]",
            &["sip.addresses", "user@domain=address@domain"],
        ),
        (
            "[sip]\naddresses = [\"ann@a.example=a.smith@b.example\"]",
            &["sip.addresses", "b.example", "not a local domain"],
        ),
        (
            "[sip]\naddresses = [\"ann@a.example=x@a.example\", \"ben@a.example=x@a.example\"]",
            &["sip.addresses", "x@a.example", "two users"],
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

/// `openssl ecparam -genkey` and older tools write EC keys so.
#[tokio::test]
async fn a_ca_key_in_the_form_of_sec_1_is_read() {
    if !have("openssl", "openssl") {
        return;
    }
    let folder = Folder::new("config-sec1");
    let good = good(folder.path());
    for (curve, name) in [("prime256v1", "p256"), ("secp384r1", "p384")] {
        let script = format!(
            "openssl ecparam -name {curve} -genkey -out {name}.key && chmod 0600 {name}.key && \
             openssl req -x509 -new -key {name}.key -subj /CN=ca -days 30 -out {name}.pem && \
             grep -q 'BEGIN EC PRIVATE KEY' {name}.key"
        );
        let made = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let text = format!(
            "{good}[cluster]\nseeds = [\"n1:7946\"]\nkey_file = \"cluster.key\"\nca_file = \"{name}.pem\"\nca_key_file = \"{name}.key\"\n"
        );
        let (fine, said) = check(folder.path(), &text).await;
        assert!(fine && said.contains("good for node lone"), "{said}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_told() {
    let folder = Folder::new("config-expired");
    let good = good(folder.path());
    let authority = Authority::new(&folder.path().join("old"));
    authority.expired("a.example", &["a.example"]);
    let (_, said) = check(folder.path(), &good.replace("ca/", "old/")).await;
    assert!(
        said.contains("old/a.example.pem ended")
            && said.contains("domains.\"a.example\".certificate_file")
            && said.contains("get a new one"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told() {
    let folder = Folder::new("config-unreadable");
    let text = good(folder.path());
    let file = folder.path().join("entente.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(
        folder.path().join("ca/a.example.key"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    // Not as root, who can read everything.
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--clear-groups"])
        .arg(binary())
        .args(["config", "check", "--config"])
        .arg(&file);
    keep_from_settings(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && said.contains("domains.\"a.example\".private_key_file")
            && said.contains("a.example.key cannot be read: Permission denied")
            && said.contains("chown"),
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
        said.contains(&port.to_string())
            && said.contains("in use")
            && said.contains("client.listen")
            && said.contains("free the port"),
        "{said}"
    );
}
