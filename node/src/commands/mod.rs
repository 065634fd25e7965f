//! What each command does. Commands that ask a running node go through its administration.

mod certs;
mod check;
mod client;
mod run;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Cli, ClusterCommand, Command, ConfigCommand};
use crate::config::{self, Config, ConfigError, env::ProcessEnvironment};

/// Whatever a command can fail with; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    App(#[from] crate::app::AppError),
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    #[error("{0}")]
    Store(#[from] entente_store::StoreError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error(
        "no node answers at {address} ({source}); is it running? --admin or ENTENTE_ADMIN names another address"
    )]
    Unreachable {
        address: String,
        source: reqwest::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(&'static str),
}

/// Carries out the command line.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    let admin = || admin_address(&cli);
    match &cli.command {
        Command::Run => run::run(cli.config.as_deref()),
        Command::Config(command) => configuration(command, cli.config.as_deref()),
        Command::Certs(command) => certs::run(command),
        Command::Check { json, resolvers } => {
            let config = load(&path_of(cli.config.as_deref())?)?;
            check::run(&config, resolvers, *json)
        }
        Command::Restore { file } => {
            let config = load(&path_of(cli.config.as_deref())?)?;
            entente_store::restore(&config.node.data_dir.join("store"), file)?;
            say(&format!(
                "restored into {}: start this node now, then the others with empty data folders",
                config.node.data_dir.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Command::Cluster(ClusterCommand::Recover { others_are_lost }) => {
            if !others_are_lost {
                return Err(CommandError::Usage(
                    "this makes the stopped node the only member, with its data; say --others-are-lost when the other nodes are gone for good",
                ));
            }
            let config = load(&path_of(cli.config.as_deref())?)?;
            entente_store::recover_alone(&config.node.data_dir.join("store"))?;
            say(
                "recovered: start this node now; empty the data folders of the other nodes before they join again",
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { json } => client::status(&admin(), *json),
        Command::Peers { json } => client::peers(&admin(), *json),
        Command::Ready => client::ready(&admin()),
        Command::Drain { wait, now } => client::drain(&admin(), *wait, *now),
        Command::Undrain => client::undrain(&admin()),
        Command::User(command) => client::user(&admin(), command),
        Command::Node(command) => client::node(&admin(), command),
        Command::Backup => client::backup(&admin()),
    }
}

fn configuration(command: &ConfigCommand, path: Option<&Path>) -> Result<ExitCode, CommandError> {
    match command {
        ConfigCommand::Reference => say(config::keys::reference().trim_end()),
        ConfigCommand::Example => {
            say(include_str!("../../../deploy/entente.example.toml").trim_end())
        }
        ConfigCommand::Check => {
            let path = path_of(path)?;
            let config = load(&path)?;
            let notes = show::deep_check(&config)?;
            for note in &notes {
                say(&format!("warning: {note}"));
            }
            say(&format!(
                "{}: good for node {} with {} local domains",
                path.display(),
                config.node.id,
                config.domains.len()
            ));
        }
        ConfigCommand::Show => {
            let config = load(&path_of(path)?)?;
            say(&show::effective(&config));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration file that was named, or the usual one.
fn path_of(named: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(path.to_path_buf());
    }
    let dev = Path::new(config::dev::FOLDER).join("entente.toml");
    for path in [Path::new(config::DEFAULT_PATH), &dev] {
        if path.exists() {
            return Ok(path.to_path_buf());
        }
    }
    Err(CommandError::Usage(
        "there is no /etc/entente/entente.toml: name the configuration with --config or ENTENTE_CONFIG",
    ))
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    config::load(path, &ProcessEnvironment)
}

/// Where the node's administration listens: as said, as configured, or the default.
fn admin_address(cli: &Cli) -> String {
    cli.admin.clone().unwrap_or_else(|| {
        path_of(cli.config.as_deref())
            .ok()
            .and_then(|path| load(&path).ok())
            .map_or_else(
                || "127.0.0.1:9290".to_owned(),
                |config| config.admin.listen.to_string(),
            )
    })
}

/// Prints a line for the operator.
pub(crate) fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints an error.
pub(crate) fn complain(error: &CommandError) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        // Some errors tell their cause themselves.
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(&format!(": {inner_text}"));
        }
        cause = inner.source();
    }
    let _closed = writeln!(std::io::stderr().lock(), "entente: {text}");
}
