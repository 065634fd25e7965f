//! Structured logs: text for people, JSON for machines, the level changeable while running.

use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::LogConfig;

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error.
pub(crate) fn start(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(quiet(filter));
    let _second_start = LEVEL.set(handle);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if config.json {
        registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init()
    } else {
        use std::io::IsTerminal;
        let colours = std::io::stderr().is_terminal();
        registry
            .with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr))
            .try_init()
    };
    if started.is_err() {
        tracing::warn!("logging was started twice");
    }
}

/// Changes what is logged. The level was checked with the configuration.
pub(crate) fn set_level(level: &str) {
    if let (Some(handle), Ok(filter)) = (LEVEL.get(), EnvFilter::try_new(level)) {
        let _gone = handle.reload(quiet(filter));
    }
}

/// Libraries speak only of what an operator can use, unless the directives name them.
fn quiet(filter: EnvFilter) -> EnvFilter {
    let text = filter.to_string();
    // The store's engine calls every outage an error of its own; what it means is told by us.
    let quiet = ["openraft=off", "hiqlite=off", "hiqlite_wal=off"];
    let calm = [
        "chitchat=error",
        "h2=warn",
        "hyper=warn",
        "tonic=warn",
        "tower=warn",
        "reqwest=warn",
        "rustls=warn",
    ];
    quiet
        .iter()
        .chain(&calm)
        .filter(|directive| {
            !directive
                .split('=')
                .next()
                .is_some_and(|name| text.contains(name))
        })
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive)
}
