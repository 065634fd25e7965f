# Shortcuts for developers; `just` lists them. CI runs .ci/run, which needs no just.

default:
    @just --list

# format, lints, tests of one crate or (no argument) of all
check crate="":
    cargo fmt --all --check
    cargo clippy {{ if crate == "" { "--workspace" } else { "--package " + crate } }} --all-targets -- -D warnings
    cargo test {{ if crate == "" { "--workspace" } else { "--package " + crate } }}

# installs what the tests need and runs all of them
test:
    tests/run

# what CI runs
ci:
    .ci/run

# a single node for trying things
run:
    cargo run --package entente -- run

# three nodes and another organisation in containers
up *options:
    deploy/up {{ options }}

down *options:
    deploy/down {{ options }}

# a static release binary; prints where it is
static:
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --package entente --target x86_64-unknown-linux-gnu
    @echo target/x86_64-unknown-linux-gnu/release/entente

# deploy/config-reference.md anew
reference:
    cargo run --quiet --package entente -- config reference > deploy/config-reference.md

# licences, sources, bans, and advisories where the database can be had
deny:
    cargo deny check
