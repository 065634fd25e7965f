//! Two of ours over a bad network: whatever is lost, doubled or forgotten, in the end the watcher sees
//! what the presentity published, and no two NOTIFY come within the gap.

use super::*;
use crate::dialog::DialogId;
use crate::subscription::notifier::StoredNotifier;
use crate::subscription::notifier::{self, Decision, Ending, Notifier, NotifierConfig, Reason};
use crate::subscription::screen::screen;
use crate::subscription::subscriber::SubscriberConfig;
use crate::subscription::subscriber::{self, Pair, Standing, StoredSubscriber, Subscriber};
use crate::testing::network::{Act, User, World, seeds};
use crate::transaction::{ClientToken, Failure, ServerId};

const GAP: Duration = Duration::from_secs(5);

/// The watcher's side.
struct Watching {
    core: Subscriber,
    ended: bool,
}

impl User for Watching {
    fn request(&mut self, now: Instant, id: ServerId, message: Message) {
        let input = subscriber::Input::Notify {
            id: Some(RequestId(id.0)),
            request: Box::new(message),
        };
        self.core.handle_input(now, input);
    }

    fn one_way(&mut self, _: Instant, _: Message) {}

    fn cancelled(&mut self, _: Instant, _: ServerId) {}

    fn response(&mut self, now: Instant, token: ClientToken, message: Message) {
        let outcome = Outcome::Response(Box::new(message));
        let id = SendId(token.0 as u32);
        self.core
            .handle_input(now, subscriber::Input::Answer { id, outcome });
    }

    fn failed(&mut self, now: Instant, token: ClientToken, failure: Failure) {
        let id = SendId(token.0 as u32);
        let outcome = Outcome::Failed(failure);
        self.core
            .handle_input(now, subscriber::Input::Answer { id, outcome });
    }

    fn timeout(&mut self, now: Instant) {
        self.core.handle_input(now, subscriber::Input::Timeout);
    }

    fn next(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn acts(&mut self, _: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                subscriber::Output::Send { id, request } => {
                    acts.push(Act::Send(ClientToken(id.0.into()), request));
                }
                subscriber::Output::Respond { id, reply } => {
                    acts.push(Act::Respond(ServerId(id.0), reply));
                }
                subscriber::Output::Ended => self.ended = true,
                _ => {}
            }
        }
        acts
    }
}

/// The presentity's side, which may hold dialogs that the watcher has given up.
struct Presentity {
    config: Arc<NotifierConfig>,
    watchers: Vec<(u64, Notifier, Option<Instant>)>,
    state: Document,
    made: u64,
    acts: Vec<Act>,
}

impl Presentity {
    fn drain(&mut self, now: Instant) {
        for (number, notifier, last) in &mut self.watchers {
            while let Some(output) = notifier.poll_output() {
                match output {
                    notifier::Output::Send { id, request } => {
                        let state = request.get(HeaderName::SubscriptionState).unwrap();
                        let draining = state.ends_with("deactivated");
                        if let Some(last) = last {
                            assert!(draining || now >= *last + GAP, "two NOTIFY within the gap");
                        }
                        *last = Some(now);
                        let token = ClientToken(*number << 32 | u64::from(id.0));
                        self.acts.push(Act::Send(token, request));
                    }
                    notifier::Output::Respond { id, reply } => {
                        self.acts.push(Act::Respond(ServerId(id.0), reply));
                    }
                    notifier::Output::Persist
                    | notifier::Output::Ended(Ending::Told(_) | Ending::Gone(_)) => {}
                }
            }
        }
        self.watchers
            .retain(|(_, notifier, _)| notifier.poll_timeout().is_some());
    }

    fn all(&mut self, now: Instant, input: impl Fn() -> notifier::Input) {
        for (_, notifier, _) in &mut self.watchers {
            notifier.handle_input(now, input());
        }
        self.drain(now);
    }

    fn publish(&mut self, now: Instant, text: &str) {
        self.state = document(text);
        let state = self.state.clone();
        self.all(now, || notifier::Input::State(state.clone()));
    }

    fn answer(&mut self, now: Instant, token: ClientToken, outcome: &Outcome) {
        for (number, notifier, _) in &mut self.watchers {
            if *number == token.0 >> 32 {
                let id = SendId(token.0 as u32);
                let outcome = outcome.clone();
                notifier.handle_input(now, notifier::Input::Answer { id, outcome });
            }
        }
        self.drain(now);
    }
}

impl User for Presentity {
    fn request(&mut self, now: Instant, id: ServerId, message: Message) {
        let id = RequestId(id.0);
        let head = Head::of(&message).unwrap();
        let dialog: DialogId = head.dialog_of_request();
        if dialog.local_tag.is_empty() {
            let asked = screen(&message, self.config.min_expires, self.config.max_expires).unwrap();
            self.made += 1;
            let tag = format!("tag{}", self.made);
            let notifier = Notifier::accept(
                now,
                self.config.clone(),
                (id, &message),
                asked,
                (&tag, 1),
                Decision::Active(self.state.clone()),
            );
            self.watchers.push((self.made, notifier.unwrap(), None));
        } else {
            let found = self
                .watchers
                .iter_mut()
                .find(|(_, notifier, _)| notifier.dialog_id() == dialog);
            match found {
                Some((_, notifier, _)) => {
                    let request = Box::new(message.clone());
                    notifier.handle_input(now, notifier::Input::Subscribe { id, request });
                }
                None => {
                    let reply = Reply::new(&message, Status::CALL_DOES_NOT_EXIST, "");
                    self.acts.push(Act::Respond(ServerId(id.0), reply));
                }
            }
        }
        self.drain(now);
    }

    fn one_way(&mut self, _: Instant, _: Message) {}

    fn cancelled(&mut self, _: Instant, _: ServerId) {}

    fn response(&mut self, now: Instant, token: ClientToken, message: Message) {
        self.answer(now, token, &Outcome::Response(Box::new(message)));
    }

    fn failed(&mut self, now: Instant, token: ClientToken, failure: Failure) {
        self.answer(now, token, &Outcome::Failed(failure));
    }

    fn timeout(&mut self, now: Instant) {
        self.all(now, || notifier::Input::Timeout);
    }

    fn next(&self) -> Option<Instant> {
        self.watchers
            .iter()
            .filter_map(|(_, notifier, _)| notifier.poll_timeout())
            .min()
    }

    fn acts(&mut self, now: Instant) -> Vec<Act> {
        self.drain(now);
        std::mem::take(&mut self.acts)
    }
}

type Both = World<Watching, Presentity>;

fn world(seed: u64) -> Both {
    let profile = Profile::simple();
    let key = OwnerKey::new(b"a");
    let config = SubscriberConfig::of(&profile, "<sip:a.example>", "a.example", key);
    let pair = Pair {
        local: "<sip:alice@a.example>".into(),
        remote: "sip:bob@b.example".into(),
        owner: Owner::new("b1").unwrap(),
    };
    let core = Subscriber::start(start(), Arc::new(config), pair, [seed as u8; 16]);
    let watching = Watching { core, ended: false };
    let presentity = Presentity {
        config: Arc::new(NotifierConfig::of(&profile, "<sip:b.example>")),
        watchers: Vec::new(),
        state: document("first"),
        made: 0,
        acts: Vec::new(),
    };
    World::new(watching, presentity, seed)
}

/// One thing that may happen, and then some time.
fn operate(world: &mut Both, step: u32) {
    let now = world.now;
    let moment = Moment {
        now,
        unix_ms: 1_000_000_000,
    };
    match world.random.number() % 12 {
        0..5 => {
            let state = format!("state {step}");
            world.b.publish(now, &state);
        }
        5 => {
            // The presentity's node dies, and with it what it knew.
            world.b.watchers.clear();
        }
        6 => {
            // It dies, and another one takes over from the store.
            let config = world.b.config.clone();
            let state = world.b.state.clone();
            for (_, notifier, last) in &mut world.b.watchers {
                let record = notifier.encode(moment);
                let stored = StoredNotifier::decode(&record).unwrap();
                *notifier = stored.wake(moment, config.clone(), state.clone());
                // The new owner does not know when the last one spoke.
                *last = None;
                notifier.take_over(now);
            }
        }
        7 => world
            .b
            .all(now, || notifier::Input::End(Reason::Deactivated)),
        8 => {
            let record = world.a.core.encode(moment);
            let key = OwnerKey::new(b"a");
            let profile = Profile::simple();
            let config = SubscriberConfig::of(&profile, "<sip:a.example>", "a.example", key);
            let stored = StoredSubscriber::decode(&record).unwrap();
            world.a.core = stored.wake(moment, Arc::new(config), [step as u8; 16]);
            world.a.core.take_over(now);
        }
        9 => world.loss = 100,
        10 => world.a.core.handle_input(now, subscriber::Input::Refresh),
        _ => {}
    }
    let longest = match world.random.number() % 3 {
        0 => secs(2),
        1 => secs(60),
        _ => secs(4000),
    };
    let span = world.random.between(Duration::ZERO, longest);
    world.pass(span);
    world.loss = 20;
}

fn run(seed: u64) {
    let mut world = world(seed);
    for step in 0..30 {
        operate(&mut world, step);
    }
    let now = world.now;
    world.b.publish(now, "the last");
    world.pass(secs(3 * 3600));
    assert_eq!(world.a.core.standing(), Standing::Active);
    assert_eq!(world.a.core.document(), Some(&document("the last")));
    let now = world.now;
    world
        .a
        .core
        .handle_input(now, subscriber::Input::Unsubscribe);
    world.pass(secs(3 * 3600));
    assert!(world.a.ended, "the watcher's side is over");
    assert!(world.b.watchers.is_empty(), "the presentity's side is over");
}

#[test]
fn both_ends_agree_in_the_end_whatever_happened() {
    seeds(120, run);
}
