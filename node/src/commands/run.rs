//! `entente run`: config, build, announce, serve, drain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ring::rand::{SecureRandom, SystemRandom};

use super::{CommandError, client, load, say};
use crate::app::App;
use crate::clock::wall;
use crate::config::{self, Config, dev};
use crate::{admin, logging};

pub(super) fn run(named: Option<&Path>) -> Result<ExitCode, CommandError> {
    let (path, development) = choose(named)?;
    let config = load(&path)?;
    if let Some(secrets) = &config.cluster.secrets {
        // The store's engine trusts what the environment says; this may start the program again.
        entente_store::trust::ensure(&secrets.ca_file)?;
    }
    logging::start(&config.log);
    if let Some(metrics) = admin::install_metrics() {
        admin::keep_metrics(metrics);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.node.threads > 0 {
        runtime.worker_threads(config.node.threads);
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(node(config, path, development))?;
    // Everything that matters was awaited; what still runs ends with the process. Taking the runtime
    // down first would only pull the ground from under the store's engine, whose own threads panic
    // when the task that asked them is gone.
    std::mem::forget(runtime);
    Ok(ExitCode::SUCCESS)
}

async fn node(config: Config, path: PathBuf, development: bool) -> Result<(), CommandError> {
    tracing::info!(node = %config.node.id, version = env!("CARGO_PKG_VERSION"), "starting");
    let admin = config.admin.listen.to_string();
    let app = App::start(config).await?;
    tracing::info!("ready");
    if development {
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        introduce(&admin, &folder).await;
    }
    app.serve(|| reread(&path)).await?;
    app.stop().await;
    Ok(())
}

/// On SIGHUP: the file again; a broken one changes nothing.
fn reread(path: &Path) -> Option<Config> {
    load(path)
        .inspect_err(|error| tracing::error!("not reloaded:\n{error}"))
        .ok()
}

fn choose(named: Option<&Path>) -> Result<(PathBuf, bool), CommandError> {
    match named {
        Some(path) => Ok((path.to_path_buf(), false)),
        None if Path::new(config::DEFAULT_PATH).exists() => {
            Ok((config::DEFAULT_PATH.into(), false))
        }
        None => Ok((dev::prepare(Path::new(dev::FOLDER), wall())?, true)),
    }
}

/// Makes the development accounts and says how to log in.
async fn introduce(admin: &str, folder: &Path) {
    let file = folder.join("accounts.txt");
    if !file.exists() {
        let mut text = String::new();
        for jid in dev::ACCOUNTS {
            let password = generated();
            match client::put_user(admin, jid, &password).await {
                Ok(_) => text.push_str(&format!("{jid} {password}\n")),
                Err(error) => {
                    tracing::error!(%error, "the development accounts were not made");
                    return;
                }
            }
        }
        if let Err(error) = crate::tls::issue::write(&file, text.as_bytes(), 0o600) {
            tracing::error!(%error, "the development accounts were not written down");
        }
    }
    let accounts = std::fs::read_to_string(&file).unwrap_or_default();
    say(&format!(
        "\nA development node serves `localhost` on 127.0.0.1:5222 (STARTTLS) and :5223 (TLS).\n\
         Accounts (also in {}):\n{}\
         Its certificate is from {}; any XMPP client that is told to trust it can log in.\n\
         For a cluster: deploy/README.md. Stop with Ctrl-C.",
        file.display(),
        accounts
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>(),
        folder.join("ca.pem").display(),
    ));
}

/// A password that is easy to copy: 20 letters and digits.
pub(super) fn generated() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 20];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes");
    }
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}
