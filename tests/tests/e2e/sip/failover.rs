//! A node dies that has the peer's connection: as the home of a third of the users, with 200
//! subscriptions and 20 sessions (fault 17), and as nobody's. The others go on with all of them, and the
//! peer, which never asks before its next refresh, is told everything anew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use entente_load::{Client, Login};
use tokio::task::{JoinHandle, JoinSet};

use super::microsoft::{self, MicrosoftPeer, Session, Shown, Watch, is_to};
use crate::harness::{
    Cluster, NameServer, Node, PATIENCE, SIP_TLS_PORT, Settings, eventually, have, online_at,
};
use crate::single::presence::presence;

const DOMAIN: &str = "modena.example";
const PEER: &str = "lync.example";
const USERS: usize = 20;
const WATCHERS: usize = 10;
/// Until everything is as before: detection, the new homes, and what they say at a peer's pace of 20
/// requests a second for each node.
const LIMIT: Duration = Duration::from_secs(30);
/// The pace of one who types.
const TYPING: Duration = Duration::from_millis(250);

/// Three nodes, and a peer with a connection to the last of them.
struct Lab {
    cluster: Cluster,
    peer: MicrosoftPeer,
    names: NameServer,
}

/// One of ours with all that the peer has with it.
struct User {
    bare: String,
    /// The home at first.
    home: String,
    client: Client,
    watches: Vec<Watch>,
    session: Arc<Session>,
    /// Whom the user watches there.
    contact: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_and_sessions_survive_their_home() {
    let Some(lab) = Lab::start("siphome", 9).await else {
        return;
    };
    let users = lab.users(USERS, WATCHERS, 3).await;
    let (dying, living) = (&lab.cluster.nodes[2], &lab.cluster.nodes[..2]);
    let (watchers, people) = ((USERS * WATCHERS) as u64, USERS as u64);
    lab.counted(&lab.cluster.nodes, [watchers, people, people])
        .await;
    for user in &users {
        user.watches.iter().for_each(Watch::forget_news);
    }
    let quiet = Arc::new(AtomicBool::new(false));
    let talks: Vec<_> = users.iter().map(|user| talk(user, &quiet)).collect();

    dying.kill();
    let begin = Instant::now();
    let left = || LIMIT.saturating_sub(begin.elapsed());
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    for user in users.iter().filter(|user| user.home == dying.name) {
        for watch in &user.watches {
            watch.expect_within(Shown::Available, left()).await;
            told.push(begin.elapsed());
        }
        let refresh = lab
            .peer
            .expect_within("a refresh of ours in the dialog", left(), |one| {
                one.is("SUBSCRIBE") && is_to(one, &user.contact) && one.to_tag().is_some()
            });
        let refresh = refresh.await;
        assert!(refresh.header("from").unwrap().contains(&user.bare));
        asked.push(begin.elapsed());
    }
    assert!(told.len() >= watchers as usize / 4, "{} moved", told.len());
    eprintln!(
        "{} watchers told anew: median {:.1?}, last {:.1?}; {} contacts asked anew, last {:.1?}",
        told.len(),
        told[told.len() / 2],
        told[told.len() - 1],
        asked.len(),
        asked[asked.len() - 1],
    );
    quiet.store(true, Ordering::Relaxed);
    lab.all_go_on(users, talks).await;
    lab.counted(living, [watchers, people, people]).await;
    eprintln!("all as before after {:.1?}", begin.elapsed());
    lab.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_has_the_connection_takes_nothing_with_it() {
    let Some(lab) = Lab::start("siproute", 11).await else {
        return;
    };
    // At home at the first two.
    let users = lab.users(4, 2, 2).await;
    let quiet = Arc::new(AtomicBool::new(false));
    let talks: Vec<_> = users.iter().map(|user| talk(user, &quiet)).collect();
    lab.cluster.nodes[2].kill();
    // At once, whatever the others know by now of its death.
    quiet.store(true, Ordering::Relaxed);
    lab.all_go_on(users, talks).await;
    lab.finish();
}

/// Says something in the user's session until it is to be quiet; what was answered with 200.
fn talk(user: &User, quiet: &Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    let (session, quiet) = (Arc::clone(&user.session), Arc::clone(quiet));
    tokio::spawn(async move {
        let mut acked = Vec::new();
        let mut pace = tokio::time::interval(TYPING);
        for number in 0.. {
            pace.tick().await;
            let text = format!("text {number}");
            if session.try_say(&text, PATIENCE).await {
                acked.push(text);
            }
            if quiet.load(Ordering::Relaxed) {
                break;
            }
        }
        acked
    })
}

impl Lab {
    /// `None` where the name server is not installed.
    async fn start(name: &'static str, net: u8) -> Option<Arc<Self>> {
        if !(have("unbound", "unbound") && have("dig", "bind9-dnsutils")) {
            return None;
        }
        let address = |last| IpAddr::from(Ipv4Addr::new(127, 61, net, last));
        let extra = format!(
            "[sip]\nhost = \"sip.{DOMAIN}\"\npublic_port = {SIP_TLS_PORT}\ncertificate_file = \"ca/sip.pem\"\n\
             private_key_file = \"ca/sip.key\"\n\
             [sip.peer.lync]\ndomains = [\"{PEER}\"]\nprofile = \"lync\"\n\
             [xmpp]\nresolver = [\"{}:15353\"]\ntrusted_ca_file = \"ca/ca.pem\"\n\
             [federation]\nsubscriptions_per_minute = 100000\n",
            address(53)
        );
        let cluster = Cluster::start(Settings {
            name,
            net,
            nodes: 3,
            clustered: true,
            domains: vec![DOMAIN],
            extra,
        })
        .await;
        let nodes: Vec<IpAddr> = cluster.nodes.iter().map(|node| node.address).collect();
        let records = [
            format!("_sipfederationtls._tcp.{PEER}. 1 IN SRV 0 1 {SIP_TLS_PORT} edge.{PEER}."),
            format!("edge.{PEER}. 1 IN A {}", address(50)),
        ];
        let names = NameServer::start(
            cluster.folder.path(),
            address(53),
            &[("elsewhere.example", address(54))],
            (DOMAIN, &nodes),
            &records,
        )
        .await;
        // The peer's connection is to the node that dies.
        let targets = nodes
            .iter()
            .rev()
            .map(|node| SocketAddr::new(*node, SIP_TLS_PORT))
            .collect();
        let settings = microsoft::Settings {
            domain: PEER,
            address: SocketAddr::new(address(50), SIP_TLS_PORT),
            targets,
            target_name: DOMAIN,
            strict: true,
        };
        let peer = MicrosoftPeer::start(settings, &cluster.authority).await;
        // The first probe opens it.
        let answered = eventually("the peer's probe is answered", PATIENCE, || async {
            (peer.probe(DOMAIN).await.status() == Some(200)).then_some(())
        });
        answered.await;
        Some(Arc::new(Self {
            cluster,
            peer,
            names,
        }))
    }

    /// Users whose homes are the first `homes` nodes in turns.
    async fn users(self: &Arc<Self>, count: usize, watchers: usize, homes: usize) -> Vec<User> {
        let mut making = JoinSet::new();
        for n in 0..count {
            // One after the other: the hashes of twenty passwords at once are too much for a small machine.
            let home = &self.cluster.nodes[n % homes];
            let login = self.cluster.user_at(home, &format!("user{n}x")).await;
            let (lab, home) = (Arc::clone(self), home.name.clone());
            making.spawn(async move { lab.user(n, login, home, watchers).await });
        }
        making.join_all().await
    }

    /// A user who is online at a node that stays, is watched, watches somebody and is in a session.
    async fn user(&self, n: usize, login: Login, home: String, watchers: usize) -> User {
        let mut client = online_at(&self.cluster.nodes[n % 2], &login).await;
        let bare = login.bare();
        let mut watches = Vec::new();
        for w in 0..watchers {
            let watcher = self.peer.user(&format!("watcher{w}"));
            let watch = self
                .peer
                .watch(&watcher, &bare, 7200)
                .await
                .unwrap_or_else(|refused| panic!("{refused}"));
            client
                .expect(PATIENCE, |s| presence(s, Some("subscribe"), &watcher))
                .await
                .unwrap();
            client
                .send(format!("<presence type='subscribed' to='{watcher}'/>"))
                .await
                .unwrap();
            watches.push(watch);
        }
        for watch in &watches {
            watch.expect_within(Shown::Available, LIMIT).await;
        }
        let contact = self.peer.user(&format!("contact{n}"));
        self.peer.show(&contact, Shown::Available).await;
        client
            .send(format!("<presence type='subscribe' to='{contact}'/>"))
            .await
            .unwrap();
        client
            .expect(LIMIT, |s| presence(s, None, &contact))
            .await
            .unwrap();
        let session = self
            .peer
            .invite(&self.peer.user("bob"), &bare, "before")
            .await
            .unwrap_or_else(|refused| panic!("{refused}"));
        client
            .expect(PATIENCE, |s| s.text_of("body").as_deref() == Some("before"))
            .await
            .unwrap();
        User {
            bare,
            home,
            client,
            watches,
            session: Arc::new(session),
            contact,
        }
    }

    async fn all_go_on(self: &Arc<Self>, users: Vec<User>, talks: Vec<JoinHandle<Vec<String>>>) {
        let mut going = JoinSet::new();
        for (user, talk) in users.into_iter().zip(talks) {
            let lab = Arc::clone(self);
            going.spawn(async move { lab.goes_on(user, talk.await.unwrap()).await });
        }
        going.join_all().await;
    }

    /// Refreshes, presence and texts go on by other nodes, in the dialogs that were, and nothing that the
    /// peer was told is delivered is missing.
    async fn goes_on(&self, mut user: User, acked: Vec<String>) {
        let (client, bare) = (&mut user.client, &user.bare);
        for watch in &user.watches {
            let answer = watch.subscribe(7200).await;
            assert_eq!(answer.status(), Some(200), "{bare}: {answer}");
        }
        let answer = user.session.say("after").await;
        assert_eq!(answer.status(), Some(200), "{bare}: {answer}");
        for text in acked.iter().map(String::as_str).chain(["after"]) {
            let heard = client.expect(PATIENCE, |s| s.text_of("body").as_deref() == Some(text));
            heard
                .await
                .unwrap_or_else(|error| panic!("{bare}, {text} of {}: {error}", acked.len()));
        }
        let bob = self.peer.user("bob");
        let chat =
            format!("<message to='{bob}' type='chat' id='r'><body>and back</body></message>");
        client.send(chat).await.unwrap();
        assert_eq!(user.session.expect_text().await, "and back", "{bare}");
        let watchers = self.peer.watchers(&user.contact);
        assert_eq!(watchers, [bare.as_str()], "{:#?}", self.peer.faults());
        self.peer.show(&user.contact, Shown::Busy).await;
        client
            .expect(PATIENCE, |s| {
                presence(s, None, &user.contact) && s.contains("<show")
            })
            .await
            .unwrap_or_else(|error| panic!("{bare}: {error}"));
        client
            .send("<presence><show>dnd</show></presence>")
            .await
            .unwrap();
        for watch in &user.watches {
            watch.expect(Shown::Busy).await;
        }
    }

    /// What operators see of these nodes together: watchers, contacts, sessions.
    async fn counted(&self, nodes: &[Arc<Node>], wanted: [u64; 3]) {
        let mut seen = [0; 3];
        for node in nodes {
            let (_, body) = node.get("/peers").await.unwrap();
            let peers: serde_json::Value = serde_json::from_str(&body).unwrap();
            for (sum, kind) in seen.iter_mut().zip(["watchers", "contacts", "sessions"]) {
                *sum += peers["sip"][0][kind].as_u64().unwrap();
            }
        }
        assert_eq!(seen, wanted);
    }

    fn finish(&self) {
        let faults = [self.cluster.faults(), self.peer.faults()].concat();
        assert!(
            faults.is_empty(),
            "{}\n{}\n{}",
            faults.join("\n"),
            self.cluster.evidence(),
            self.names.evidence()
        );
    }
}
