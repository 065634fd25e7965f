//! Commands that ask a running node.

use std::future::Future;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, Method, Response};

use super::{CommandError, run, say, show};
use crate::admin::{Password, Peers, Status};
use crate::cli::{NodeCommand, UserCommand};

const TIMEOUT: Duration = Duration::from_secs(15);
/// How often `drain --wait` looks.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two lines of the same step: five seconds.
const SHOWN_EVERY: u32 = 25;
/// Looks until the drain must have begun.
const PATIENT_ROUNDS: u32 = 10;

pub(super) fn status(admin: &str, json: bool) -> Result<ExitCode, CommandError> {
    let text = block_on(async { text(ask(admin, Method::GET, "/status", None).await?).await })?;
    if json {
        say(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let status: Status = serde_json::from_str(&text).map_err(|error| {
        CommandError::Refused(format!("the node's status was not understood: {error}"))
    })?;
    say(&show::status(&status));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn peers(admin: &str, json: bool) -> Result<ExitCode, CommandError> {
    let text = block_on(async { text(ask(admin, Method::GET, "/peers", None).await?).await })?;
    if json {
        say(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let peers: Peers = serde_json::from_str(&text).map_err(|error| {
        CommandError::Refused(format!("the node's answer was not understood: {error}"))
    })?;
    say(&show::peers(&peers));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ready(admin: &str) -> Result<ExitCode, CommandError> {
    block_on(async {
        let response = ask(admin, Method::GET, "/readyz", None).await?;
        let good = response.status().is_success();
        say(response.text().await.unwrap_or_default().trim_end());
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

pub(super) fn drain(admin: &str, wait: bool, now: bool) -> Result<ExitCode, CommandError> {
    block_on(async {
        let path = if now { "/drain?now=true" } else { "/drain" };
        say(text(ask(admin, Method::POST, path, None).await?)
            .await?
            .trim_end());
        if wait {
            until_drained(admin).await
        } else {
            Ok(ExitCode::SUCCESS)
        }
    })
}

/// Shows each step of a drain as it begins, and every few seconds what is left.
async fn until_drained(admin: &str) -> Result<ExitCode, CommandError> {
    let (mut shown, mut rounds) = (None, 0_u32);
    loop {
        let status = text(ask(admin, Method::GET, "/status", None).await?).await?;
        let status: Status = serde_json::from_str(&status).map_err(|error| {
            CommandError::Refused(format!("the node's status was not understood: {error}"))
        })?;
        // The command may not have reached the drain yet: the first round is patient.
        let Some(progress) = status.drain else {
            if shown.is_some() || rounds > PATIENT_ROUNDS {
                return Err(CommandError::Refused("the drain was undone".to_owned()));
            }
            rounds += 1;
            tokio::time::sleep(LOOK).await;
            continue;
        };
        if shown.as_ref() != Some(&progress.step) || rounds >= SHOWN_EVERY {
            say(&progress.text());
            rounds = 0;
        }
        if progress.drained {
            return Ok(ExitCode::SUCCESS);
        }
        shown = Some(progress.step);
        rounds += 1;
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) fn undrain(admin: &str) -> Result<ExitCode, CommandError> {
    simple(admin, Method::POST, "/undrain")
}

pub(super) fn backup(admin: &str) -> Result<ExitCode, CommandError> {
    block_on(async {
        let answer = text(ask(admin, Method::POST, "/backup", None).await?).await?;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        say(answer
            .get("file")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("written"));
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn node(admin: &str, command: &NodeCommand) -> Result<ExitCode, CommandError> {
    let NodeCommand::Remove { id } = command;
    simple(admin, Method::DELETE, &format!("/nodes/{}", escaped(id)))
}

pub(super) fn user(admin: &str, command: &UserCommand) -> Result<ExitCode, CommandError> {
    match command {
        UserCommand::Add(user) => {
            let password = password(user.generate)?;
            let said = block_on(put_user(admin, &user.jid, &password))?;
            say(said.trim_end());
            if user.generate {
                say(&format!("password: {password}"));
            }
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Passwd(user) => {
            let password = password(user.generate)?;
            let body = Password {
                jid: user.jid.clone(),
                password: password.clone(),
            };
            let path = format!("/users/{}/password", escaped(&user.jid));
            let said =
                block_on(async { text(ask(admin, Method::PUT, &path, Some(&body)).await?).await })?;
            say(said.trim_end());
            if user.generate {
                say(&format!("password: {password}"));
            }
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Rm { jid } => {
            simple(admin, Method::DELETE, &format!("/users/{}", escaped(jid)))
        }
        UserCommand::List { domain } => list(admin, domain.as_deref()),
    }
}

fn list(admin: &str, domain: Option<&str>) -> Result<ExitCode, CommandError> {
    block_on(async {
        let mut after = String::new();
        loop {
            let mut path = format!("/users?after={}", escaped(&after));
            if let Some(domain) = domain {
                path.push_str(&format!("&domain={}", escaped(domain)));
            }
            let page = text(ask(admin, Method::GET, &path, None).await?).await?;
            let page: serde_json::Value = serde_json::from_str(&page).unwrap_or_default();
            let users: Vec<&str> = page["users"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(serde_json::Value::as_str)
                .collect();
            let Some(last) = users.last() else {
                return Ok(ExitCode::SUCCESS);
            };
            after = (*last).to_owned();
            for user in users {
                say(user);
            }
        }
    })
}

/// Adds an account.
pub(super) async fn put_user(
    admin: &str,
    jid: &str,
    password: &str,
) -> Result<String, CommandError> {
    let body = Password {
        jid: jid.to_owned(),
        password: password.to_owned(),
    };
    text(ask(admin, Method::POST, "/users", Some(&body)).await?).await
}

fn password(generate: bool) -> Result<String, CommandError> {
    if generate {
        return Ok(run::generated());
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        say("Password (it is shown while you type; --generate makes one):");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(CommandError::Usage(
            "no password: write one line to standard input, or use --generate",
        ));
    }
    Ok(password.to_owned())
}

fn simple(admin: &str, method: Method, path: &str) -> Result<ExitCode, CommandError> {
    block_on(async {
        say(text(ask(admin, method, path, None).await?)
            .await?
            .trim_end());
        Ok(ExitCode::SUCCESS)
    })
}

async fn ask(
    admin: &str,
    method: Method,
    path: &str,
    body: Option<&Password>,
) -> Result<Response, CommandError> {
    let unreachable = |source| CommandError::Unreachable {
        address: admin.to_owned(),
        source,
    };
    let client = Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()
        .map_err(unreachable)?;
    let mut request = client.request(method, format!("http://{admin}{path}"));
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().await.map_err(unreachable)
}

/// The body of a good answer; a bad one is the error.
async fn text(response: Response) -> Result<String, CommandError> {
    let good = response.status().is_success();
    let text = response.text().await.unwrap_or_default();
    if good {
        Ok(text)
    } else {
        Err(CommandError::Refused(text.trim_end().to_owned()))
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Percent-encodes whatever may not stand in a path or query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
