//! The run of one seed.

use std::time::{Duration, Instant};

use entente_cluster::{Change, NodeId, Standing, changes};
use rand::Rng;

use super::agenda::Event;
use super::checker::{Failure, Totals, check_fences};
use super::client::{Client, ClientEvent};
use super::fault::{Fault, KINDS, Plan, plan};
use super::membership::node_index;
use super::node::{Node, NodeEvent};
use super::stage::Stage;
use super::store::{QUICK, StoreEvent};

/// The window in which crashes count against a node.
const CRASH_WINDOW: Duration = Duration::from_secs(300);
/// Events beyond which something runs in circles.
const MOST_EVENTS: u64 = 5_000_000;

struct World {
    stage: Stage,
    nodes: Vec<Option<Node>>,
    clients: Vec<Client>,
    /// What came for a node that is paused.
    deferred: Vec<Vec<NodeEvent>>,
    generations: Vec<u64>,
    crashes: Vec<Vec<Instant>>,
    calm: bool,
    acked: usize,
    /// The homes when a cut had lasted long enough.
    steady: Vec<Vec<(NodeId, u64)>>,
}

/// What goes wrong in the run of a seed, in a word.
#[must_use]
pub fn kind(seed: u64) -> &'static str {
    KINDS[(seed % KINDS.len() as u64) as usize]
}

/// Runs a seed to its end, or to the first broken invariant.
///
/// # Errors
/// The invariant, with the last events.
pub fn run(seed: u64) -> Result<Totals, Box<Failure>> {
    let mut world = World::new(seed);
    world.play();
    world.stage.checker.finish();
    match world.stage.checker.failure.take() {
        None => Ok(world.stage.checker.totals),
        Some((at, what)) => Err(Box::new(Failure {
            seed,
            at,
            what,
            trace: world.stage.trace.lines(),
        })),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let count = 3 + (seed / 12 % 3) as usize;
        let mut stage = Stage::new(seed, count);
        let clients = stage.rng.random_range(4..=7);
        let Plan { faults, calm } = plan(&mut stage.rng, seed, count, clients);
        for (at, fault) in faults {
            let at = stage.start + at;
            stage.agenda.add(at, Event::Fault(fault));
        }
        stage
            .agenda
            .add(stage.start, Event::Store(StoreEvent::Tick));
        let mut world = Self {
            nodes: (0..count).map(|_| None).collect(),
            clients: Vec::new(),
            deferred: (0..count).map(|_| Vec::new()).collect(),
            generations: vec![0; count],
            crashes: vec![Vec::new(); count],
            calm,
            acked: 0,
            steady: Vec::new(),
            stage,
        };
        for node in 0..count {
            world.start(node);
        }
        for index in 0..clients {
            let client = Client::new(&mut world.stage, index, clients);
            world.clients.push(client);
            let after = world.stage.millis(3_000, 5_000);
            let at = world.stage.now + after;
            let agenda = &mut world.stage.agenda;
            agenda.add(at, Event::Client(index, ClientEvent::Connect));
            agenda.add(at, Event::Client(index, ClientEvent::Send));
        }
        world
    }

    fn play(&mut self) {
        for _ in 0..MOST_EVENTS {
            let Some((at, event)) = self.stage.agenda.next() else {
                return;
            };
            self.stage.now = at;
            if matches!(event, Event::Fault(Fault::End)) {
                return self.end();
            }
            self.happen(event);
            if self.stage.checker.failure.is_some() {
                return;
            }
        }
        self.stage
            .violated("the run does not come to an end".to_owned());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Node(node, life, event) => {
                let present = self.stage.lives[node];
                if present.life != life || !present.up {
                    return;
                }
                if present.paused {
                    self.deferred[node].push(event);
                    return;
                }
                self.node_event(node, event);
            }
            Event::Client(client, event) => self.clients[client].handle(&mut self.stage, event),
            Event::Pipe(pipe, side) => self.stage.pipe_pump(pipe, side),
            Event::Store(event) => {
                if matches!(event, StoreEvent::Tick) {
                    check_fences(&mut self.stage, &self.nodes);
                }
                self.stage.store_event(event);
            }
            Event::Abroad(arrival) => self.stage.arrives_abroad(arrival),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn node_event(&mut self, index: usize, event: NodeEvent) {
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        node.handle(&mut self.stage, event);
        if node.left {
            self.stop(index, true, false);
            return;
        }
        let acked = self.stage.checker.acked.len();
        if acked != self.acked {
            self.acked = acked;
            check_fences(&mut self.stage, &self.nodes);
        }
    }

    fn start(&mut self, index: usize) {
        if self.stage.lives[index].up {
            return;
        }
        let life = &mut self.stage.lives[index];
        life.life += 1;
        life.up = true;
        life.paused = false;
        self.generations[index] = (self.generations[index] + 1).max(self.stage.unix());
        let now = self.stage.now;
        self.crashes[index].retain(|at| now - *at <= CRASH_WINDOW);
        let generation = self.generations[index];
        self.stage.note(format!("n{index} starts"));
        let crashes = &self.crashes[index];
        let node = Node::start(&mut self.stage, index, generation, crashes);
        self.nodes[index] = Some(node);
    }

    fn stop(&mut self, index: usize, clean: bool, power: bool) {
        if !self.stage.lives[index].up {
            return;
        }
        let what = if clean { "stops" } else { "dies" };
        self.stage.note(format!("n{index} {what}, power {power}"));
        self.stage.lives[index].up = false;
        self.stage.lives[index].paused = false;
        self.stage.pipes_of_dead(index, power);
        self.nodes[index] = None;
        self.deferred[index].clear();
        if !clean {
            self.crashes[index].push(self.stage.now);
        }
        if !power {
            for client in 0..self.clients.len() {
                if self.clients[client].node == index {
                    let connection = self.clients[client].connection;
                    let after = self.stage.millis(1, 20);
                    let event = Event::Client(client, ClientEvent::Reset(connection));
                    self.stage.agenda.add(self.stage.now + after, event);
                }
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.stage.note(format!("FAULT {fault:?}"));
        match fault {
            Fault::Kill { node, power } => self.stop(node, false, power),
            Fault::Restart(node) => self.start(node),
            Fault::Pause(node) => self.stage.lives[node].paused = self.stage.lives[node].up,
            Fault::Continue(node) => self.wake(node),
            Fault::Cut(from, to) => {
                for &from in &from {
                    for &to in &to {
                        self.stage.network.set_cut(from, to, true);
                    }
                }
            }
            Fault::HealNetwork => self.stage.network.heal(),
            Fault::Weather { loss, delay } => {
                self.stage.network.loss = loss;
                self.stage.network.delay = delay;
            }
            Fault::Slow(low, high) => self.stage.store.latency = (low, high),
            Fault::Stall(stalled) => self.stage.store.stalled = stalled,
            Fault::Drain(node) => {
                if self.stage.lives[node].up {
                    self.stage.at(node, Duration::ZERO, NodeEvent::Drain);
                }
            }
            Fault::Away(client) => self.clients[client].go_away(&mut self.stage),
            Fault::Back(client) => self.clients[client].come_back(&mut self.stage),
            Fault::Break(client) => self.clients[client].break_off(&mut self.stage),
            Fault::Abroad(up) => self.stage.abroad_is(up),
            Fault::BreakAbroad => self.stage.break_abroad(),
            Fault::HealAll => self.heal(),
            Fault::Silence => {
                for client in &mut self.clients {
                    client.silent = true;
                }
            }
            Fault::Parted(cut_off) => self.check_parted(&cut_off),
            Fault::Steady => self.steady = self.homes_of_all(),
            Fault::StillSteady => {
                let now = self.homes_of_all();
                if now != self.steady {
                    let text = format!("homes under a cut: {:?}, then {now:?}", self.steady);
                    self.stage.violated(text);
                }
            }
            Fault::Converged => {
                if self.calm {
                    self.check_views(true);
                } else {
                    self.check_same_homes();
                }
            }
            Fault::Settled => self.settled(),
            Fault::Return => {
                for client in &mut self.clients {
                    client.come_back(&mut self.stage);
                }
            }
            Fault::End => {}
        }
    }

    fn heal(&mut self) {
        self.stage.network.heal();
        self.stage.store.latency = QUICK;
        self.stage.store.stalled = false;
        self.stage.abroad_is(true);
        for node in 0..self.nodes.len() {
            self.wake(node);
            self.start(node);
        }
        for client in &mut self.clients {
            client.come_back(&mut self.stage);
        }
    }

    /// A paused node goes on: what came meanwhile in its order, its timers a little later or not.
    fn wake(&mut self, node: usize) {
        if !std::mem::take(&mut self.stage.lives[node].paused) {
            return;
        }
        for event in std::mem::take(&mut self.deferred[node]) {
            let after = match &event {
                NodeEvent::GossipRound
                | NodeEvent::Judge
                | NodeEvent::Renew
                | NodeEvent::ReadLeases
                | NodeEvent::MeshTick
                | NodeEvent::ShardTimer(_)
                | NodeEvent::SessionTimer(_) => self.stage.micros(0, 20_000),
                _ => Duration::ZERO,
            };
            self.stage.at(node, after, event);
        }
    }

    /// The homes in the eyes of each node that runs.
    fn homes_of_all(&self) -> Vec<Vec<(NodeId, u64)>> {
        let nodes = self.nodes.iter().flatten();
        nodes.map(|node| node.homes()).collect()
    }

    /// The minority of a partition takes nobody in, and the rest serves without it.
    fn check_parted(&mut self, cut_off: &[usize]) {
        let mut wrong = Vec::new();
        for node in self.nodes.iter().flatten() {
            if cut_off.contains(&node.index) {
                if node.open {
                    wrong.push(format!("{} is cut off and open", node.id));
                }
                continue;
            }
            let homes: Vec<usize> = node
                .homes()
                .iter()
                .map(|(id, _)| node_index(id.as_str()))
                .collect();
            let rest = (0..self.nodes.len()).filter(|n| !cut_off.contains(n));
            if !rest.eq(homes.iter().copied()) {
                wrong.push(format!("the homes are {homes:?} to {}", node.id));
            }
        }
        for text in wrong {
            self.stage.violated(format!("partition: {text}"));
        }
    }

    /// Whoever went down more than once may be held down still, but nobody takes others for the homes
    /// than the rest does.
    fn check_same_homes(&mut self) {
        let nodes: Vec<_> = self.nodes.iter().flatten().collect();
        let homes: Vec<_> = nodes.iter().map(|node| node.homes()).collect();
        let odd = homes.iter().position(|own| *own != homes[0]);
        if let Some(odd) = odd {
            let text = format!(
                "views: the homes are {:?} to {} and {:?} to {}",
                homes[0], nodes[0].id, homes[odd], nodes[odd].id
            );
            self.stage.violated(text);
        }
    }

    /// All views name the same homes; with `all`, every node is one.
    fn check_views(&mut self, all: bool) {
        let views: Vec<_> = self
            .nodes
            .iter()
            .flatten()
            .map(|node| node.membership.view.clone())
            .collect();
        for view in &views {
            if all {
                let serving = view.serving_homes().count();
                if serving != self.nodes.len() {
                    let text = format!("{} sees {serving} homes only", view.local);
                    self.stage.violated(format!("views: {text}"));
                }
            }
            let differ = changes(&views[0], view)
                .into_iter()
                .any(|change| !matches!(change, Change::Isolation(_) | Change::FactsChanged(_)));
            if differ {
                let text = format!("{} and {} do not agree", views[0].local, view.local);
                self.stage.violated(format!("views: {text}"));
            }
        }
    }

    /// A minute after everything was repaired.
    fn settled(&mut self) {
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if !client.is_online() {
                self.stage.violated(format!("client {index} is not online"));
            } else if client.pending() > 0 {
                let text = format!(
                    "{} messages of client {index} are not acknowledged, the oldest is {:?}",
                    client.pending(),
                    client.oldest_pending()
                );
                self.stage.violated(text);
            }
        }
        for node in self.nodes.iter().flatten() {
            for connection in node.connections.values() {
                if let Some((waiting @ 1.., _)) = connection.custody() {
                    let text = format!(
                        "{waiting} envelopes of {} stay in custody at {}",
                        connection.user(),
                        node.id
                    );
                    self.stage.violated(text);
                }
            }
        }
        self.check_homes();
        let missing: Vec<_> = self
            .stage
            .checker
            .acked
            .iter()
            .copied()
            .filter(|message| !self.stage.checker.is_delivered(*message))
            .collect();
        if !missing.is_empty() {
            let text = format!("stranded: {missing:?} do not come to clients that are online");
            self.stage.violated(text);
        }
        for client in &mut self.clients {
            client.go_away(&mut self.stage);
        }
    }

    /// Every session is known to exactly one home.
    fn check_homes(&mut self) {
        let at_home: usize = self
            .nodes
            .iter()
            .flatten()
            .map(Node::sessions_at_home)
            .sum();
        let online = self
            .clients
            .iter()
            .filter(|client| client.is_online())
            .count();
        if at_home != online {
            self.stage
                .violated(format!("{online} sessions, and homes know {at_home}"));
        }
        for node in self.nodes.iter().flatten() {
            if let Some(user) = node.stray_user() {
                self.stage
                    .violated(format!("{} has {user}, whose home it is not", node.id));
            }
        }
    }

    fn end(&mut self) {
        self.check_views(false);
        let undelivered: Vec<String> = self
            .stage
            .checker
            .acked
            .iter()
            .filter(|message| !self.stage.checker.is_delivered(**message))
            .map(ToString::to_string)
            .collect();
        if !undelivered.is_empty() {
            let text = format!("acknowledged and never delivered: {undelivered:?}");
            self.stage.violated(text);
        }
        let left: Vec<String> = self
            .stage
            .store
            .kept()
            .map(|(user, id)| format!("{user} {id}"))
            .collect();
        if !left.is_empty() {
            self.stage.violated(format!("left in the store: {left:?}"));
        }
        let announcements: Vec<&str> = self
            .nodes
            .iter()
            .flatten()
            .filter(|node| {
                let view = &node.membership.view;
                view.local_member()
                    .is_some_and(|member| member.standing == Standing::Serving)
            })
            .map(Node::announcement)
            .collect();
        if announcements.windows(2).any(|pair| pair[0] != pair[1]) {
            let text = format!("the published zones differ: {announcements:?}");
            self.stage.violated(text);
        }
    }
}
