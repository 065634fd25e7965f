//! What a program says, as events: lines are waited for, in the order in which they come.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// Everything heard so far, and how far it was looked through.
#[derive(Clone)]
pub struct Heard {
    text: watch::Receiver<String>,
    at: usize,
}

impl Heard {
    /// Listens to `source` until it ends; what comes is written to `log`, too.
    pub fn listen(sources: Vec<Box<dyn AsyncRead + Send + Unpin>>, log: &Path) -> Self {
        let (heard, text) = watch::channel(String::new());
        let log = File::options().create(true).append(true).open(log).unwrap();
        for mut source in sources {
            let (heard, mut log) = (heard.clone(), log.try_clone().unwrap());
            tokio::spawn(async move {
                let mut bytes = vec![0; 16 * 1024];
                while let Ok(count @ 1..) = source.read(&mut bytes).await {
                    log.write_all(&bytes[..count]).unwrap();
                    heard.send_modify(|all| all.push_str(&plain(&bytes[..count])));
                }
            });
        }
        Self { text, at: 0 }
    }

    /// Waits for `words` in what was not looked through yet; gives the line up to where they end.
    /// Panics with the last words when they do not come.
    pub async fn expect(&mut self, words: &str, limit: Duration) -> String {
        let from = self.at;
        let heard = self.text.wait_for(|text| text[from..].contains(words));
        let why = match tokio::time::timeout(limit, heard).await {
            Ok(Ok(text)) => {
                self.at = from + text[from..].find(words).unwrap() + words.len();
                let begin = text[..self.at].rfind('\n').map_or(0, |at| at + 1);
                return text[begin..self.at].to_owned();
            }
            Ok(Err(_)) => "it ended",
            Err(_) => "not in time",
        };
        panic!("{words:?}: {why} ({limit:?}); heard {:?}", self.last());
    }

    /// The last 2,000 characters.
    pub fn last(&self) -> String {
        let text = self.text.borrow();
        let count = text.chars().count();
        text.chars().skip(count.saturating_sub(2000)).collect()
    }
}

/// Without colours and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut escape = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => escape = true,
            _ if escape => escape = !c.is_ascii_alphabetic(),
            '\r' => {}
            _ => out.push(c),
        }
    }
    out
}

/// A program that is spoken to on its standard input.
pub struct Talk {
    pub heard: Heard,
    say: ChildStdin,
    child: Child,
}

impl Talk {
    /// Starts `command` in a process group of its own.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let sources: Vec<Box<dyn AsyncRead + Send + Unpin>> = vec![
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        Self {
            heard: Heard::listen(sources, log),
            say: child.stdin.take().unwrap(),
            child,
        }
    }

    /// One line.
    pub async fn say(&mut self, line: &str) {
        self.say
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        self.say.flush().await.unwrap();
    }

    /// Its end, after it was told to end.
    pub async fn end(&mut self, limit: Duration) -> std::process::ExitStatus {
        super::within("the end of the program", limit, self.child.wait())
            .await
            .unwrap()
    }

    /// Sends a signal to the program, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let Some(id) = self.child.id() else { return };
        kill(name, &id.to_string());
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The group was made for this program: its children go with it.
        if let Some(id) = self.child.id() {
            kill("KILL", &format!("-{id}"));
        }
    }
}

fn kill(signal: &str, target: &str) {
    let _gone = std::process::Command::new("kill")
        .args(["-s", signal, "--", target])
        .stderr(Stdio::null())
        .status();
}
