//! The name server of an Entente cluster: it publishes the live nodes of a cluster in DNS.
//!
//! The way of a change: the cluster's view gives the live nodes; [`schedule`] decides when a change
//! of them counts; [`records`] makes the record set, a pure function that comes out alike on every
//! node; [`serial`] agrees on its serial with the other nodes; [`publication`] is those three put
//! together. [`publisher`] drives it and hands each [`Published`] to the [`server`].
//!
//! The pure modules know no sockets and no clock. hickory's types stay in `question`, `zone` and
//! `response`.

mod content;
#[cfg(test)]
mod example;
#[doc(hidden)]
pub mod fuzzing;
pub mod name;
pub mod network;
pub mod plan;
pub mod publication;
pub mod publisher;
mod question;
pub mod records;
mod responder;
mod response;
mod rrl;
pub mod schedule;
pub mod serial;
pub mod server;
pub mod service;
mod tcp;
mod telemetry;
mod udp;
mod zone;

pub use name::{DnsName, NameError};
pub use network::{Network, NetworkError};
pub use plan::{
    ModeRule, NameServer, PlanProblem, PublishMode, PublishModes, PublishPlan, PublishedNode,
    SoaPlan,
};
pub use publication::{Publication, PublicationInput, Published};
pub use publisher::{Publisher, PublisherInputs};
pub use records::{ContentHash, Record, RecordData, RecordSet, View};
pub use rrl::RrlConfig;
pub use schedule::{Schedule, ScheduleConfig, ScheduleInput};
pub use serial::{Announcement, Serial, SerialBook};
pub use server::{DnsConfig, DnsError, DnsHandle, DnsServer};
pub use service::{Service, ServicePorts, Services};
