//! The order in which a node is taken out, without sockets or clocks.
//!
//! ```text
//! Serving → LeavingDns → Caches → HandingOver → Drained
//!     ↑_________________________________________| undo
//! ```
//! 1. *Leaving DNS*: the node gossips that it drains, so all name servers drop its records and its
//!    users' homes move. Everything is still served here. It ends when the other nodes are seen to
//!    publish the same records as this one, which no longer names itself.
//! 2. *Caches*: resolvers may hand out the old records for their TTL. Whoever comes by them is still
//!    served, new connections included: an answer from a cache must not lead to a closed port.
//! 3. *Handing over*: the listeners close, then the streams are ended, paced, each with a farewell in
//!    which nothing is left in doubt.
//! 4. *Drained*: nobody is connected. The node stays a member, with its copy of the store.
//!
//! Homes move in the first step, not in the third: while they move, clients and links stay as they
//! are, so what was under way finds its new home from a living holder; and a client that is sent away
//! in the third step meets homes that have settled. It costs a hop over the mesh for the time of the
//! wait, and a second move if the drain is undone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How the node is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// All steps.
    Patient,
    /// Without waiting for caches, and with less patience: `drain --now`, or a stop.
    Quick,
}

/// The bounds of the steps. All of them together bound a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// How long the other name servers get to follow.
    pub(crate) agreement: Duration,
    /// The same in a quick drain.
    pub(crate) quick_agreement: Duration,
    /// The TTL of the records, and a little. Zero: no wait.
    pub(crate) caches: Duration,
    /// Streams ended in a second.
    pub(crate) pace: u32,
    /// The pace is raised for so many streams that it would take longer.
    pub(crate) longest_pace: Duration,
    /// The same in a quick drain.
    pub(crate) quick_pace: Duration,
    /// What the last stream gets for its farewell after it was told.
    pub(crate) farewell: Duration,
}

/// Whether DNS still leads to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// No other node could be named: the records stay, and there is nothing to wait for.
    Alone,
    /// Some name server still names this node, as far as gossip says.
    Named,
    /// No name server of the cluster names it any more.
    Gone,
}

/// What is still connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Left {
    /// Client sessions and streams of peers.
    pub(crate) sessions: usize,
    /// Streams to peers.
    pub(crate) outbound: usize,
}

impl Left {
    fn is_nothing(self) -> bool {
        self.sessions == 0 && self.outbound == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Begin(Manner),
    /// Back to service.
    Undo,
    /// How things stand; a few times a second while a drain is going on.
    Look(Naming, Left),
}

/// What the node has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Gossip that this node drains.
    Announce,
    /// Close the listeners, then end all streams, spread over this time.
    HandOver { over: Duration },
    /// The drain is complete; so much was not closed in time.
    Finish(Left),
    /// Serve again, whatever was done so far.
    Retract,
}

/// Why the sequence wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Some name server did not follow.
    Agreement,
    /// The records are out of all caches.
    Caches,
    /// Streams did not close.
    HandOver,
}

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Serving,
    LeavingDns { until: Instant },
    Caches { until: Instant },
    HandingOver { until: Instant },
    Drained,
}

impl Step {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LeavingDns { .. } => "leaving DNS",
            Self::Caches { .. } => "waiting until DNS answers are out of caches",
            Self::HandingOver { .. } => "handing over",
            Self::Drained => "drained",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sequence {
    bounds: Bounds,
    manner: Manner,
    step: Step,
    left: Left,
    actions: VecDeque<Action>,
}

impl Sequence {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            manner: Manner::Patient,
            step: Step::Serving,
            left: Left::default(),
            actions: VecDeque::new(),
        }
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Begin(manner) => self.begin(now, manner),
            Input::Undo => {
                if self.step != Step::Serving {
                    self.step = Step::Serving;
                    self.actions.push_back(Action::Retract);
                }
            }
            Input::Look(naming, left) => {
                self.left = left;
                self.look(now, naming);
            }
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn step(&self) -> Step {
        self.step
    }

    /// What the last look found.
    pub(crate) fn left(&self) -> Left {
        self.left
    }

    /// When a step ends at the latest, and what that would mean. A look after it ends it.
    pub(crate) fn deadline(&self) -> Option<(Instant, Deadline)> {
        match self.step {
            Step::Serving | Step::Drained => None,
            Step::LeavingDns { until } => Some((until, Deadline::Agreement)),
            Step::Caches { until } => Some((until, Deadline::Caches)),
            Step::HandingOver { until } => Some((until, Deadline::HandOver)),
        }
    }

    fn begin(&mut self, now: Instant, manner: Manner) {
        match (self.step, manner) {
            (Step::Serving, _) => {
                self.manner = manner;
                self.actions.push_back(Action::Announce);
                let patience = match manner {
                    Manner::Patient => self.bounds.agreement,
                    Manner::Quick => self.bounds.quick_agreement,
                };
                self.step = Step::LeavingDns {
                    until: now + patience,
                };
            }
            // No more patience for a drain that was begun with it.
            (Step::LeavingDns { until }, Manner::Quick) => {
                self.manner = manner;
                let until = until.min(now + self.bounds.quick_agreement);
                self.step = Step::LeavingDns { until };
            }
            (Step::Caches { .. }, Manner::Quick) => {
                self.manner = manner;
                self.hand_over(now);
            }
            _ => {}
        }
    }

    fn look(&mut self, now: Instant, naming: Naming) {
        match self.step {
            Step::LeavingDns { until } => {
                if naming == Naming::Named && now < until {
                    return;
                }
                let wait = match (self.manner, naming) {
                    (Manner::Quick, _) | (_, Naming::Alone) => Duration::ZERO,
                    (Manner::Patient, Naming::Gone | Naming::Named) => self.bounds.caches,
                };
                if wait.is_zero() {
                    self.hand_over(now);
                } else {
                    self.step = Step::Caches { until: now + wait };
                }
            }
            Step::Caches { until } if now >= until => self.hand_over(now),
            Step::HandingOver { until } if self.left.is_nothing() || now >= until => {
                self.step = Step::Drained;
                self.actions.push_back(Action::Finish(self.left));
            }
            Step::Serving | Step::Caches { .. } | Step::HandingOver { .. } | Step::Drained => {}
        }
    }

    fn hand_over(&mut self, now: Instant) {
        let longest = match self.manner {
            Manner::Patient => self.bounds.longest_pace,
            Manner::Quick => self.bounds.quick_pace,
        };
        let sessions = u32::try_from(self.left.sessions).unwrap_or(u32::MAX);
        let over = (Duration::from_secs(1) * sessions / self.bounds.pace.max(1)).min(longest);
        self.actions.push_back(Action::HandOver { over });
        self.step = Step::HandingOver {
            until: now + over + self.bounds.farewell,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        agreement: Duration::from_secs(8),
        quick_agreement: Duration::from_secs(1),
        caches: Duration::from_secs(35),
        pace: 500,
        longest_pace: Duration::from_secs(60),
        quick_pace: Duration::from_secs(2),
        farewell: Duration::from_secs(10),
    };
    const SOME: Left = Left {
        sessions: 1000,
        outbound: 3,
    };
    const NOTHING: Left = Left {
        sessions: 0,
        outbound: 0,
    };

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting point for virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    struct Lab {
        sequence: Sequence,
        now: Instant,
    }

    impl Lab {
        fn new() -> Self {
            Self {
                sequence: Sequence::new(BOUNDS),
                now: start(),
            }
        }

        fn input(&mut self, input: Input) -> Vec<Action> {
            self.sequence.handle_input(self.now, input);
            std::iter::from_fn(|| self.sequence.poll_output()).collect()
        }

        fn after(&mut self, seconds: u64, naming: Naming, left: Left) -> Vec<Action> {
            self.now += Duration::from_secs(seconds);
            self.input(Input::Look(naming, left))
        }

        fn until(&self, deadline: Deadline) -> Duration {
            let (at, why) = self.sequence.deadline().unwrap();
            assert_eq!(why, deadline);
            at - self.now
        }
    }

    #[test]
    fn a_patient_drain_waits_for_dns_then_for_caches_then_for_the_streams() {
        let mut lab = Lab::new();
        assert_eq!(lab.input(Input::Begin(Manner::Patient)), [Action::Announce]);
        assert_eq!(lab.after(1, Naming::Named, SOME), []);
        assert_eq!(lab.until(Deadline::Agreement), Duration::from_secs(7));
        assert_eq!(lab.after(1, Naming::Gone, SOME), []);
        assert_eq!(lab.until(Deadline::Caches), BOUNDS.caches);
        // A name server that falls back for a moment does not begin the wait anew.
        assert_eq!(lab.after(34, Naming::Named, SOME), []);
        let over = Duration::from_secs(2);
        assert_eq!(
            lab.after(1, Naming::Gone, SOME),
            [Action::HandOver { over }]
        );
        assert_eq!(lab.until(Deadline::HandOver), over + BOUNDS.farewell);
        let almost = Left {
            outbound: 1,
            ..NOTHING
        };
        assert_eq!(lab.after(2, Naming::Gone, almost), []);
        assert_eq!(
            lab.after(1, Naming::Gone, NOTHING),
            [Action::Finish(NOTHING)]
        );
        assert_eq!(lab.sequence.step(), Step::Drained);
        assert_eq!(lab.sequence.deadline(), None);
    }

    #[test]
    fn a_name_server_that_does_not_follow_holds_nothing_up_for_ever() {
        let mut lab = Lab::new();
        lab.input(Input::Begin(Manner::Patient));
        assert_eq!(lab.after(8, Naming::Named, SOME), []);
        assert_eq!(lab.until(Deadline::Caches), BOUNDS.caches);
    }

    #[test]
    fn a_node_that_is_alone_has_nobody_to_wait_for() {
        let mut lab = Lab::new();
        lab.input(Input::Begin(Manner::Patient));
        assert_eq!(
            lab.after(0, Naming::Alone, NOTHING),
            [Action::HandOver {
                over: Duration::ZERO
            }]
        );
    }

    #[test]
    fn a_quick_drain_waits_for_homes_and_dns_but_not_for_caches() {
        let mut lab = Lab::new();
        assert_eq!(lab.input(Input::Begin(Manner::Quick)), [Action::Announce]);
        assert_eq!(lab.after(0, Naming::Named, SOME), []);
        assert_eq!(lab.until(Deadline::Agreement), BOUNDS.quick_agreement);
        let crowd = Left {
            sessions: 50_000,
            outbound: 0,
        };
        assert_eq!(
            lab.after(1, Naming::Named, crowd),
            [Action::HandOver {
                over: BOUNDS.quick_pace
            }]
        );
    }

    #[test]
    fn patience_can_be_lost_at_any_time() {
        let mut lab = Lab::new();
        lab.input(Input::Begin(Manner::Patient));
        assert_eq!(lab.input(Input::Begin(Manner::Quick)), []);
        assert_eq!(lab.until(Deadline::Agreement), BOUNDS.quick_agreement);

        let mut lab = Lab::new();
        lab.input(Input::Begin(Manner::Patient));
        lab.after(1, Naming::Gone, SOME);
        assert_eq!(
            lab.input(Input::Begin(Manner::Quick)),
            [Action::HandOver {
                over: Duration::from_secs(2)
            }]
        );
        // Not gained back, and not done twice.
        assert_eq!(lab.input(Input::Begin(Manner::Patient)), []);
        assert_eq!(lab.input(Input::Begin(Manner::Quick)), []);
    }

    #[test]
    fn streams_that_do_not_close_are_told_of_at_the_end() {
        let mut lab = Lab::new();
        lab.input(Input::Begin(Manner::Quick));
        lab.after(0, Naming::Gone, SOME);
        assert_eq!(lab.after(11, Naming::Gone, SOME), []);
        assert_eq!(lab.after(1, Naming::Gone, SOME), [Action::Finish(SOME)]);
    }

    #[test]
    fn a_drain_can_be_undone_in_every_step_and_begun_again() {
        for looks in 0..4 {
            let mut lab = Lab::new();
            lab.input(Input::Begin(Manner::Patient));
            for _ in 0..looks {
                lab.after(40, Naming::Gone, NOTHING);
            }
            assert_eq!(lab.input(Input::Undo), [Action::Retract], "{looks}");
            assert_eq!(lab.input(Input::Undo), []);
            assert_eq!(lab.after(1, Naming::Gone, NOTHING), []);
            assert_eq!(lab.input(Input::Begin(Manner::Patient)), [Action::Announce]);
        }
    }
}
