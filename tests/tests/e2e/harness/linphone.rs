//! linphonec: a user behind a SIP server, driven on its standard input.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::talk::{Heard, Talk};
use super::{Kamailio, PATIENCE};

/// A running linphonec. It publishes that it is online.
pub struct Linphone {
    chats: Heard,
    friends: Heard,
    talk: Talk,
}

impl Linphone {
    /// Starts it and waits until the server has its registration. It subscribes to each of `friends`
    /// (addresses without scheme) at once.
    pub async fn start(folder: &Path, server: &Kamailio, user: &str, friends: &[&str]) -> Self {
        let folder = folder.join(format!("linphone-{user}"));
        // Without these it finds no place for its database and crashes when a chat begins.
        for place in [".local/share/linphone", ".config/linphone"] {
            std::fs::create_dir_all(folder.join(place)).unwrap();
        }
        let address = format!("{user}@{}", server.domain);
        let users = server.users();
        let mut text = format!(
            "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=0\ndefault_proxy=0\nguess_hostname=1\n\
             register_only_when_network_is_up=0\nauto_net_state_mon=0\npublish_presence=1\nkeepalive_period=0\n\
             contact=<sip:{address}>\n[net]\nfirewall_policy=0\ndns_srv_enabled=0\n[rtp]\naudio_rtp_port=-1\n\
             [video]\nenabled=0\n[misc]\nversion_check_url_root=\n\
             [proxy_0]\nreg_proxy=<sip:{users};transport=tcp>\nreg_route=<sip:{users};transport=tcp;lr>\n\
             reg_identity=<sip:{address}>\nreg_expires=600\nreg_sendregister=1\npublish=1\n"
        );
        for (number, friend) in friends.iter().enumerate() {
            text.push_str(&format!(
                "[friend_{number}]\nurl=<sip:{friend}>\npol=accept\nsubscribe=1\n"
            ));
        }
        let config = folder.join("linphonerc");
        std::fs::write(&config, text).unwrap();
        let mut log = server.log.clone();
        let mut command = Command::new("linphonec");
        command
            .env("HOME", &folder)
            .current_dir(&folder)
            .arg("-c")
            .arg(&config)
            .args(["-d", "6", "-l"])
            .arg(folder.join("debug.log"));
        let talk = Talk::start(command, &folder.join("said.log"));
        log.expect(&format!("registered sip:{address}"), 2 * PATIENCE)
            .await;
        Self {
            chats: talk.heard.clone(),
            friends: talk.heard.clone(),
            talk,
        }
    }

    /// Sends a text to an address without scheme.
    pub async fn chat(&mut self, to: &str, text: &str) {
        self.talk.say(&format!("chat sip:{to} {text}")).await;
    }

    /// Waits for this text from an address without scheme.
    pub async fn expect_chat(&mut self, from: &str, text: &str) {
        let words = format!("Message received from sip:{from}: {text}");
        self.chats.expect(&words, PATIENCE).await;
    }

    /// Waits until a friend is shown so: Online, Offline, Busy, Away, …
    pub async fn expect_friend(&mut self, friend: &str, status: &str) {
        let words = format!("<sip:{friend}> is {status}");
        self.friends.expect(&words, PATIENCE).await;
    }

    /// Ends it. It withdraws its presence, but closes the connection with answers unread: the server
    /// may lose that request. So nobody may wait for its being offline.
    pub async fn quit(mut self) {
        self.talk.say("quit").await;
        self.talk.end(Duration::from_secs(20)).await;
    }
}
