//! baresip: a user behind a SIP server, driven over its console on TCP.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::talk::{Heard, Talk};
use super::{Kamailio, PATIENCE};

const CONSOLE_PORT: u16 = 15555;

/// A running baresip with one contact, whom it watches and talks to.
pub struct Baresip {
    contact: String,
    heard: Heard,
    console: WriteHalf<TcpStream>,
    talk: Talk,
}

impl Baresip {
    /// Starts it on the loopback address `own` and waits until it is registered and its console is
    /// open. `contact` is an address without scheme.
    pub async fn start(
        folder: &Path,
        server: &Kamailio,
        own: IpAddr,
        user: &str,
        contact: &str,
    ) -> Self {
        let folder = folder.join(format!("baresip-{user}"));
        std::fs::create_dir_all(&folder).unwrap();
        let address = format!("{user}@{}", server.domain);
        // It uses no loopback address unless one is named as its interface.
        let config = format!(
            "sip_listen {own}:0\nnet_interface {own}\naudio_player aubridge,nil\naudio_source aubridge,nil\n\
             audio_alert aubridge,nil\nmodule_path /usr/lib/baresip/modules\nmodule cons.so\nmodule g711.so\n\
             module_app account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_app presence.so\n\
             cons_listen {own}:{CONSOLE_PORT}\n"
        );
        std::fs::write(folder.join("config"), config).unwrap();
        let account = format!(
            "<sip:{address};transport=tcp>;auth_pass=none;regint=600;pubint=600;outbound=\"sip:{};transport=tcp\"\n",
            server.users()
        );
        std::fs::write(folder.join("accounts"), account).unwrap();
        std::fs::write(
            folder.join("contacts"),
            format!("\"contact\" <sip:{contact}>;presence=p2p\n"),
        )
        .unwrap();
        let mut command = Command::new("baresip");
        command.env("HOME", &folder).arg("-f").arg(&folder);
        let mut talk = Talk::start(command, &folder.join("said.log"));
        talk.heard.expect("baresip is ready.", PATIENCE).await;
        let console = TcpStream::connect(SocketAddr::new(own, CONSOLE_PORT))
            .await
            .unwrap();
        let (read, write) = tokio::io::split(console);
        let heard = Heard::listen(vec![Box::new(read)], &folder.join("console.log"));
        let mut log = server.log.clone();
        log.expect(&format!("registered sip:{address}"), PATIENCE)
            .await;
        log.expect(&format!("published sip:{address}"), PATIENCE)
            .await;
        let mut baresip = Self {
            contact: contact.to_owned(),
            heard,
            console: write,
            talk,
        };
        // The console hears of what comes only once it has spoken.
        baresip.command("reginfo").await;
        baresip.heard.expect("User Agents", PATIENCE).await;
        baresip
    }

    async fn command(&mut self, command: &str) {
        self.console
            .write_all(format!("/{command}\n").as_bytes())
            .await
            .unwrap();
    }

    /// Sends a text to the contact.
    pub async fn chat(&mut self, text: &str) {
        self.command(&format!("message {text}")).await;
    }

    /// Waits for this text from an address without scheme.
    pub async fn expect_chat(&mut self, from: &str, text: &str) {
        let words = format!("sip:{from}: \"{text}\"");
        self.heard.expect(&words, PATIENCE).await;
    }

    /// Publishes open or closed.
    pub async fn publish(&mut self, online: bool) {
        let word = if online { "online" } else { "offline" };
        self.command(&format!("presence_{word}")).await;
    }

    /// Waits until the contact is shown so: Online, Offline, Busy, Away. It does not announce the
    /// first status of a contact, so it is asked.
    pub async fn expect_contact(&mut self, status: &str) {
        let what = format!("{} is {status} to baresip", self.contact);
        let begin = std::time::Instant::now();
        loop {
            self.command("contacts").await;
            self.heard.expect("--- Contacts (1) ---", PATIENCE).await;
            let words = format!("<sip:{}>", self.contact);
            let line = self.heard.expect(&words, PATIENCE).await;
            if line.contains(&format!("{status} ")) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "not in time: {what}; {line}");
            tokio::time::sleep(super::SILENCE / 4).await;
        }
    }

    /// Ends it; it tells the server before.
    pub async fn quit(mut self) {
        self.talk.signal("TERM");
        self.talk.end(Duration::from_secs(20)).await;
    }
}
