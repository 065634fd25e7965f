//! The loop around [`Publication`]: watches in, a watch out.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plan::{PublishPlan, PublishedNode};
use crate::publication::{Publication, PublicationInput, Published};
use crate::schedule::ScheduleConfig;
use crate::serial::Announcement;

/// What the publisher follows. A watch whose sender is gone keeps its last value.
#[derive(Debug, Clone)]
pub struct PublisherInputs {
    /// The nodes that are alive and not draining, this one included once its self-check is passed.
    pub nodes: watch::Receiver<Vec<PublishedNode>>,
    /// The plan.
    pub plan: watch::Receiver<Arc<PublishPlan>>,
    /// What the other live nodes announce.
    pub announcements: watch::Receiver<Vec<Announcement>>,
    /// Whether this node may not answer: not ready, or cut off.
    pub isolated: watch::Receiver<bool>,
}

/// The running publisher; dropping it stops it.
#[derive(Debug)]
pub struct Publisher {
    published: watch::Receiver<Arc<Published>>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts to follow `inputs`. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(schedule: ScheduleConfig, inputs: PublisherInputs) -> Self {
        let (sender, published) = watch::channel(Arc::new(Published::nothing()));
        let task = tokio::spawn(drive(schedule, inputs, sender));
        Self { published, task }
    }

    /// What is served now, and its changes: for [`DnsServer`](crate::DnsServer), and for gossip, which
    /// carries [`Published::announcement`] to the other nodes.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    schedule: ScheduleConfig,
    mut inputs: PublisherInputs,
    published: watch::Sender<Arc<Published>>,
) {
    let plan = inputs.plan.borrow_and_update().clone();
    let mut publication = Publication::new(plan, schedule);
    let mut input = |input| {
        publication.handle_input(now(), unix_seconds(), input);
        while let Some(output) = publication.poll_output() {
            tracing::info!(serial = %output.serial, isolated = output.isolated, "zones published");
            published.send_replace(Arc::new(output));
        }
        publication.poll_timeout()
    };
    // The others' serials first, so that the first publication already joins in.
    let announcements = inputs.announcements.borrow_and_update().clone();
    input(PublicationInput::Announcements(announcements));
    let isolated = *inputs.isolated.borrow_and_update();
    input(PublicationInput::Isolated(isolated));
    let nodes = inputs.nodes.borrow_and_update().clone();
    let mut deadline = input(PublicationInput::Nodes(nodes));
    loop {
        let next = tokio::select! {
            () = changed(&mut inputs.nodes) => {
                PublicationInput::Nodes(inputs.nodes.borrow_and_update().clone())
            }
            () = changed(&mut inputs.plan) => {
                PublicationInput::Plan(inputs.plan.borrow_and_update().clone())
            }
            () = changed(&mut inputs.announcements) => {
                PublicationInput::Announcements(inputs.announcements.borrow_and_update().clone())
            }
            () = changed(&mut inputs.isolated) => {
                PublicationInput::Isolated(*inputs.isolated.borrow_and_update())
            }
            () = until(deadline) => PublicationInput::TimerFired,
        };
        deadline = input(next);
    }
}

/// Waits for a change; for ever if there can be none any more.
async fn changed<T>(watch: &mut watch::Receiver<T>) {
    if watch.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a shell: reads the clock for the core"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a shell: reads the clock for new serials"
)]
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock before 1970 makes serials that only count on.
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
