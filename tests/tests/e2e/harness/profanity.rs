//! Profanity, a client with a text screen, in a tmux of its own: what the screen shows is waited for.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use entente_load::Login;
use tokio::process::Command;

use super::{Node, PASSWORD, PATIENCE, eventually};

/// Wide enough that no line of a test is folded.
const WIDTH: &str = "220";
const HEIGHT: &str = "60";

pub struct Profanity {
    socket: PathBuf,
    log: PathBuf,
}

/// How a client reaches its server.
#[derive(Debug, Clone, Copy)]
pub enum ClientTls {
    Starttls,
    Direct,
}

impl Profanity {
    /// Starts it and has it log in; certificates must be from `ca`.
    pub async fn start(
        folder: &Path,
        node: &Node,
        ca: &Path,
        login: &Login,
        tls: ClientTls,
    ) -> Self {
        let bare = login.bare();
        let home = folder.join(format!("profanity-{bare}"));
        std::fs::create_dir_all(home.join("config/profanity")).unwrap();
        std::fs::create_dir_all(home.join("data/profanity")).unwrap();
        let (port, policy) = match tls {
            ClientTls::Starttls => (super::CLIENT_PORT, "force"),
            ClientTls::Direct => (super::CLIENT_TLS_PORT, "legacy"),
        };
        std::fs::write(
            home.join("data/profanity/accounts"),
            format!(
                "[{bare}]\nenabled=true\njid={bare}\nresource=profanity\npassword={PASSWORD}\n\
                 server={}\nport={port}\ntls.policy={policy}\npresence.login=online\npresence.last=online\n",
                node.address
            ),
        )
        .unwrap();
        std::fs::write(home.join("config/profanity/profrc"), "[ui]\nsplash=false\n").unwrap();
        let profanity = Self {
            socket: home.join("tmux"),
            log: home.join("data/profanity/logs/profanity.log"),
        };
        let made = profanity
            .tmux(&[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                WIDTH,
                "-y",
                HEIGHT,
            ])
            .args(["profanity", "--account", &bare, "--log", "DEBUG"])
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("SSL_CERT_FILE", ca)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        profanity
            .shows(&format!("{bare}/profanity logged in successfully"))
            .await;
        profanity
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Types a line: text for the open conversation, or a command.
    pub async fn say(&self, line: &str) {
        for keys in [&["-l", line] as &[_], &["Enter"]] {
            let sent = self.tmux(&["send-keys"]).args(keys).output().await.unwrap();
            assert!(sent.status.success(), "{sent:?}");
        }
    }

    /// What it wrote about itself.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn screen(&self) -> String {
        let shown = self
            .tmux(&["capture-pane", "-p", "-J"])
            .output()
            .await
            .unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Waits until the screen has these words; gives the line.
    pub async fn shows(&self, words: &str) -> String {
        let found = eventually(words, Duration::MAX, || async {
            let screen = self.screen().await;
            let line = screen.lines().find(|line| line.contains(words));
            line.map(str::to_owned)
        });
        match tokio::time::timeout(2 * PATIENCE, found).await {
            Ok((line, _)) => line,
            Err(_) => panic!("{words:?} is not on the screen:\n{}", self.screen().await),
        }
    }
}

impl Drop for Profanity {
    fn drop(&mut self) {
        // The server was made for this session: the client goes with it.
        let _gone = std::process::Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}
