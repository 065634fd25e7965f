//! The messages under `tests/corpus/sip`.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::path::PathBuf;

fn directory(of: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/sip");
    PathBuf::from(root).join(of)
}

/// The bytes of a message.
pub fn read(of: &str, name: &str) -> Vec<u8> {
    let path = directory(of).join(format!("{name}.dat"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the messages of an RFC.
pub fn names(of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory(of)).expect("the corpus is there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.expect("a readable directory").file_name();
            Some(name.to_str()?.strip_suffix(".dat")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// All messages of both RFCs, with where they are from.
pub fn all() -> Vec<(&'static str, String)> {
    ["rfc4475", "rfc5118"]
        .into_iter()
        .flat_map(|of| names(of).into_iter().map(move |name| (of, name)))
        .collect()
}
