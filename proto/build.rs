//! Generates the wire types. protox compiles the files, so no protoc has to be installed.

use std::error::Error;

const FILES: [&str; 2] = ["entente/mesh/v1/mesh.proto", "entente/node/v1/node.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    // `Bytes` everywhere: a decoded frame or stanza is a slice of the message it came in.
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
