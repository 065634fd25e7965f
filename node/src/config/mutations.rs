//! Seeded mutations of a configuration and of its environment: it is taken, or refused with the file
//! and at least one problem in words; nothing panics.

use std::path::Path;

use super::from_text;

#[path = "../../../tests/fuzz/src/seeded.rs"]
#[allow(unreachable_pub, reason = "shared with other crates")]
#[expect(
    clippy::print_stderr,
    reason = "a failure has to name the seed that repeats it"
)]
mod seeded;

const RUNS: u64 = 1_000;

/// A key of every kind: text, switch, number, list, network, target, peer, policy.
const FULL: &str = r#"
[node]
id = "node-1"
roles = ["home", "client", "xmpp", "sip", "dns"]
public_addresses = ["192.0.2.1", "2001:db8::1"]
[cluster]
seeds = ["node2.example.com:7946"]
advertise = "192.0.2.1"
[client]
listen = ["[::]:5222"]
idle_seconds = 1800
[xmpp]
resolver = ["127.0.0.1:53"]
[sip]
listen = ["[::]:5061"]
host = "sip.example.com"
proxy_networks = ["10.0.0.0/8", "fd00::/8"]
dns_mode = "subset:node-1,node-2"
[sip.peer.partner]
domains = ["partner.example", "bücher.example"]
targets = ["sip.partner.example:5061", "[2001:db8::2]:5061"]
profile = "lync"
aliases = ["aim.example=partner.example"]
tls_subjects = ["sip.partner.example"]
[federation]
default = "deny"
[federation.domains."other.example"]
tls = "optional"
targets = ["192.0.2.9:5269"]
[domains."example.com"]
certificate_file = "example.com.pem"
private_key_file = "example.com.key"
chat_domains = ["chat.example.com"]
[dns]
zones = ["_tcp.example.com"]
mode = "single"
private_networks = ["10.0.0.0/8"]
ttl_seconds = 30
[limits]
repeats = 10000
[log]
level = "info,entente=debug"
"#;

/// Pieces that a random byte would hardly ever make.
const FRAGMENTS: [&str; 34] = [
    "\n",
    "\"",
    "\"\"\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\\",
    "\\u0000",
    "-1",
    "0",
    "99999999999999999999",
    "1e400",
    "nan",
    "true",
    "[]",
    "[\"\"]",
    "\"\"",
    ":0",
    ":65536",
    "/33",
    "é",
    "\u{0}",
    "xn--",
    ".example",
    "[sip.peer.\"\"]\n",
    "[domains.\"..\"]\n",
];

fn refused_in_words(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let file = Path::new("/etc/entente/entente.toml");
    for environment in [
        Vec::new(),
        vec![(
            "ENTENTE_CLUSTER_SEEDS".to_owned(),
            text.chars().take(40).collect(),
        )],
        vec![("ENTENTE_NODE_ID".to_owned(), text.chars().take(9).collect())],
    ] {
        if let Err(error) = from_text(&text, file, &environment) {
            let told = error.to_string();
            assert!(told.starts_with("/etc/entente/entente.toml: "), "{told}");
            assert!(
                error
                    .problems
                    .iter()
                    .all(|problem| !problem.what.is_empty())
            );
        }
    }
}

#[test]
fn any_text_is_taken_or_refused_in_words() {
    let corpus = [FULL, include_str!("../../../deploy/entente.example.toml")];
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeded::run(&corpus, &FRAGMENTS, RUNS, refused_in_words);
}
