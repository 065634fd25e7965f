//! Two of ours over a bad network: every text has one fate, what was delivered arrived, in order, and
//! both ends close in the end.

use std::collections::BTreeMap;

use super::*;
use crate::testing::network::{Act, User, World, seeds};
use crate::transaction::{ClientToken, ServerId};

/// One of the two users' sides.
struct Side {
    core: Session,
    acts: Vec<Act>,
    /// Texts that went in, and what became of each.
    fates: BTreeMap<u64, Option<bool>>,
    heard: Vec<u64>,
    said: u64,
}

impl Side {
    fn new(name: &str, peer: &str, profile: &Profile, seed: u64) -> Self {
        let config = SessionConfig {
            contact: format!("<sip:{name}.example>").into(),
            host: format!("{name}.example").into(),
            key: OwnerKey::new(name.as_bytes()),
            profile: profile.clone(),
        };
        let pair = Pair {
            local: format!("<sip:user@{name}.example>").into(),
            remote: format!("sip:user@{peer}.example").into(),
            owner: Owner::new("b1").unwrap(),
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        bytes[8] = name.as_bytes()[0];
        Self {
            core: Session::new(Arc::new(config), pair, bytes),
            acts: Vec::new(),
            fates: BTreeMap::new(),
            heard: Vec::new(),
            said: 0,
        }
    }

    fn say(&mut self, now: Instant) {
        self.said += 1;
        self.fates.insert(self.said, None);
        let token = TextToken(self.said);
        let document = plain(&self.said.to_string());
        self.core.handle_input(now, Input::Text { token, document });
    }

    fn fate(&mut self, token: TextToken, delivered: bool) {
        let fate = self.fates.get_mut(&token.0).unwrap();
        assert_eq!(*fate, None, "text {} has two fates", token.0);
        *fate = Some(delivered);
    }
}

impl User for Side {
    fn request(&mut self, now: Instant, id: ServerId, message: Message) {
        let request = Box::new(message);
        let id = RequestId(id.0);
        self.core.handle_input(now, Input::Request { id, request });
    }

    fn one_way(&mut self, now: Instant, message: Message) {
        let request = Box::new(message);
        self.core.handle_input(now, Input::Ack { request });
    }

    fn cancelled(&mut self, _: Instant, _: ServerId) {}

    fn response(&mut self, now: Instant, token: ClientToken, message: Message) {
        if message.status().unwrap().is_final() {
            let id = SendId(token.0 as u32);
            let outcome = Outcome::Response(Box::new(message));
            self.core.handle_input(now, Input::Answer { id, outcome });
        }
    }

    fn failed(&mut self, now: Instant, token: ClientToken, failure: Failure) {
        let id = SendId(token.0 as u32);
        let outcome = Outcome::Failed(failure);
        self.core.handle_input(now, Input::Answer { id, outcome });
    }

    fn timeout(&mut self, now: Instant) {
        self.core.handle_input(now, Input::Timeout);
    }

    fn next(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn acts(&mut self, now: Instant) -> Vec<Act> {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { id, request } => {
                    let token = ClientToken(id.0.into());
                    self.acts.push(Act::Send(token, request));
                }
                Output::Ack(ack) => self.acts.push(Act::Ack(ack)),
                Output::Cancel { id } => self.acts.push(Act::Cancel(ClientToken(id.0.into()))),
                Output::Respond { id, reply } => {
                    self.acts.push(Act::Respond(ServerId(id.0), reply));
                }
                Output::Text { id, document, .. } => {
                    let text = std::str::from_utf8(&document.body).unwrap();
                    self.heard.push(text.parse().unwrap());
                    let verdict = Input::Verdict {
                        id,
                        status: Status::OK,
                        headers: Vec::new(),
                    };
                    self.core.handle_input(now, verdict);
                }
                Output::Delivered(token) => self.fate(token, true),
                Output::Failed { token, .. } => self.fate(token, false),
                Output::Persist | Output::Closed | Output::Typing(_) => {}
            }
        }
        std::mem::take(&mut self.acts)
    }
}

type Both = World<Side, Side>;

fn world(seed: u64, profile: &Profile) -> Both {
    let a = Side::new("a", "b", profile, seed);
    let b = Side::new("b", "a", profile, seed);
    World::new(a, b, seed)
}

fn span(world: &mut Both) -> Duration {
    let longest = match world.random.number() % 4 {
        0 => Duration::from_millis(300),
        1 => Duration::from_secs(5),
        2 => Duration::from_secs(60),
        _ => Duration::from_secs(900),
    };
    world.random.between(Duration::ZERO, longest)
}

/// What must hold when all is said: what one side was told is true at the other.
fn check(from: &Side, to: &Side, at_most_once: bool) {
    for (token, fate) in &from.fates {
        let times = to.heard.iter().filter(|heard| *heard == token).count();
        match fate {
            None => panic!("text {token} has no fate"),
            Some(true) => assert!(times >= 1, "text {token} was delivered to nobody"),
            Some(false) => {}
        }
        if at_most_once {
            assert!(times <= 1, "text {token} came {times} times");
        }
    }
    let mut firsts: Vec<u64> = Vec::new();
    for heard in &to.heard {
        if !firsts.contains(heard) {
            firsts.push(*heard);
        }
    }
    assert!(firsts.is_sorted(), "out of order: {firsts:?}");
}

fn close(world: &mut Both) {
    world.pass(Duration::from_secs(3600));
    assert!(world.a.core.is_idle(), "{:?}", world.a.core);
    assert!(world.b.core.is_idle(), "{:?}", world.b.core);
}

/// Losses that repeats make good. Not more than these: of a text whose answers are all lost for 32 s nobody
/// can know whether it arrived, and it is sent again, which happens once in 10^5 at twice the loss.
fn lossy(seed: u64, profile: &Profile) {
    let mut world = world(seed, profile);
    world.loss = 10;
    for _ in 0..40 {
        let now = world.now;
        match world.random.number() % 6 {
            0..2 => world.a.say(now),
            2..4 => world.b.say(now),
            4 => {
                // At once, which is glare if nothing is open.
                world.a.say(now);
                world.b.say(now);
            }
            _ => {}
        }
        let span = span(&mut world);
        world.pass(span);
    }
    close(&mut world);
    check(&world.a, &world.b, true);
    check(&world.b, &world.a, true);
    let all = world.a.fates.values().chain(world.b.fates.values());
    assert!(
        all.into_iter().all(|fate| *fate == Some(true)),
        "nothing fails"
    );
}

/// Cuts that outlast every timer, ends, deaths and take-overs.
fn broken(seed: u64, profile: &Profile) {
    let mut world = world(seed, profile);
    for step in 0..40 {
        let now = world.now;
        match world.random.number() % 10 {
            0..3 => world.a.say(now),
            3..6 => world.b.say(now),
            6 => world.loss = 100,
            7 => world.a.core.handle_input(now, Input::End),
            // Its node dies between texts: the record lives, or nothing does.
            8 if world.b.core.queue.is_empty() && world.b.core.unanswered.is_empty() => {
                let moment = Moment { now, unix_ms: 0 };
                let config = world.b.core.config.clone();
                let seed = [step; 16];
                world.b.core = match world.b.core.encode() {
                    Some(record) if step % 2 == 0 => {
                        let stored = StoredSession::decode(&record).unwrap();
                        stored.wake(moment, config, seed)
                    }
                    _ => Session::new(config, world.b.core.pair().clone(), seed),
                };
                world.b.core.sent = u32::from(step) * 1000;
                world.b.core.take_over(now);
            }
            _ => {}
        }
        let span = span(&mut world);
        world.pass(span);
        world.loss = 20;
    }
    close(&mut world);
    check(&world.a, &world.b, false);
    check(&world.b, &world.a, false);
}

fn each_profile(seed: u64, run: fn(u64, &Profile)) {
    for profile in [Profile::microsoft_lync(), Profile::simple()] {
        run(seed, &profile);
    }
}

#[test]
fn every_text_arrives_once_over_a_network_that_loses_and_reorders() {
    seeds(50, |seed| each_profile(seed, lossy));
}

#[test]
fn every_text_has_one_fate_whatever_breaks() {
    seeds(50, |seed| each_profile(seed, broken));
}
