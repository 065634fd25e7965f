//! From the cluster's view to what the name server serves: schedule, records and serial put together,
//! still without sockets or clocks, so that simulations can drive it.

use std::sync::Arc;
use std::time::Instant;

use crate::plan::{PublishPlan, PublishedNode};
use crate::records::RecordSet;
use crate::schedule::{Schedule, ScheduleConfig, ScheduleInput};
use crate::serial::{Announcement, Serial, SerialBook};

/// What the name server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The records; `None` until the first nodes are known.
    pub records: Option<Arc<RecordSet>>,
    /// The serial of all zones.
    pub serial: Serial,
    /// This node is on the wrong side of a cut, or not ready: every query in our zones is answered
    /// with SERVFAIL, so that resolvers ask another name server.
    pub isolated: bool,
}

impl Published {
    /// Before anything is known: SERVFAIL for every query.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            records: None,
            serial: Serial(0),
            isolated: true,
        }
    }

    /// What to gossip, so that the others come to the same serial.
    #[must_use]
    pub fn announcement(&self) -> Option<Announcement> {
        self.records.as_ref().map(|records| Announcement {
            serial: self.serial,
            content: records.content(),
        })
    }
}

/// What happens to the publication.
#[derive(Debug, Clone)]
pub enum PublicationInput {
    /// The nodes that are alive and not draining.
    Nodes(Vec<PublishedNode>),
    /// A new plan, after a reload of the configuration.
    Plan(Arc<PublishPlan>),
    /// What the other live nodes announce: all of them, each time.
    Announcements(Vec<Announcement>),
    /// Whether this node may answer.
    Isolated(bool),
    /// The deadline of [`Publication::poll_timeout`] has come.
    TimerFired,
}

/// The sans-IO core of the publisher.
#[derive(Debug)]
pub struct Publication {
    plan: Arc<PublishPlan>,
    schedule: Schedule,
    nodes: Option<Vec<PublishedNode>>,
    records: Option<Arc<RecordSet>>,
    serials: SerialBook,
    isolated: bool,
    last: Published,
    changed: bool,
}

impl Publication {
    /// A publication that has nothing to publish yet.
    #[must_use]
    pub fn new(plan: Arc<PublishPlan>, schedule: ScheduleConfig) -> Self {
        Self {
            plan,
            schedule: Schedule::new(schedule),
            nodes: None,
            records: None,
            serials: SerialBook::new(),
            isolated: true,
            last: Published::nothing(),
            changed: false,
        }
    }

    /// Takes an input in. `unix_seconds` is the wall clock, for new serials only.
    pub fn handle_input(&mut self, now: Instant, unix_seconds: u64, input: PublicationInput) {
        let mut rebuild = false;
        match input {
            PublicationInput::Nodes(nodes) => {
                self.schedule.handle_input(now, ScheduleInput::Nodes(nodes));
            }
            PublicationInput::TimerFired => {
                self.schedule.handle_input(now, ScheduleInput::TimerFired);
            }
            PublicationInput::Plan(plan) => {
                rebuild = true;
                self.plan = plan;
            }
            PublicationInput::Announcements(announcements) => self.serials.observe(announcements),
            PublicationInput::Isolated(isolated) => self.isolated = isolated,
        }
        if let Some(nodes) = self.schedule.poll_output() {
            rebuild = true;
            self.nodes = Some(nodes);
        }
        if rebuild {
            self.build();
        }
        self.settle(unix_seconds);
    }

    /// What to serve, if it changed since the last call.
    pub fn poll_output(&mut self) -> Option<Published> {
        std::mem::take(&mut self.changed).then(|| self.last.clone())
    }

    /// When to come back with [`PublicationInput::TimerFired`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.poll_timeout()
    }

    fn build(&mut self) {
        let Some(nodes) = &self.nodes else {
            return; // nothing was ever known: no records are better than empty ones
        };
        let records = RecordSet::build(&self.plan, nodes, self.records.as_deref());
        if self.records.as_deref() != Some(&records) {
            self.records = Some(Arc::new(records));
        }
    }

    fn settle(&mut self, unix_seconds: u64) {
        let serial = match &self.records {
            Some(records) => self.serials.settle(records.content(), unix_seconds),
            None => Serial(0),
        };
        let published = Published {
            records: self.records.clone(),
            serial,
            isolated: self.isolated,
        };
        if published != self.last {
            self.last = published;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests;
