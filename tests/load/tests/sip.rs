//! The SIP driver against its own sink.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A CA and a certificate of it, for servers and clients.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let params = CertificateParams::new(vec!["own.example".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("own.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("own.key"), key.serialize_pem()).unwrap();
}

#[test]
fn every_text_is_answered_and_counted() {
    let folder = std::env::temp_dir().join(format!("entente-load-sip-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    certificates(&folder);
    let own = "127.0.7.49:15061";
    let done = Command::new(env!("CARGO_BIN_EXE_entente-load"))
        .current_dir(&folder)
        .args(["sip", "--to", own, "--domain", "own.example"])
        .args(["--own-domain", "own.example", "--own-address", own])
        .args([
            "--ca-file",
            "ca.pem",
            "--certificate",
            "own.pem",
            "--key",
            "own.key",
        ])
        .args(["--senders", "7", "--window", "3", "--connections", "2"])
        .args(["--warmup", "0.2", "--seconds", "0.5", "--json", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}{errors}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("messages") > 0, "{said}");
    // What was answered before and after the measurement was received, too.
    assert!(number("received") >= number("messages"), "{said}");
    assert_eq!(
        (number("refused"), number("broken")),
        (0, 0),
        "{said}{errors}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
