//! Asks a peer at intervals whether it is alive.

use std::sync::Arc;
use std::time::Duration;

use entente_proto::mesh::v1::HealthRequest;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::handler::HealthReport;
use super::peer::{self, Peer};
use super::{Context, now};

/// Reports to the handler until stopped. A peer without a connection has failed the check.
pub(super) async fn watch(context: Arc<Context>, peer: Arc<Peer>, stop: CancellationToken) {
    let mut ticks = interval(context.limits.health_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, before a connection can stand.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = check(&context, &peer) => answer,
        };
        if let Some((_, rtt)) = answer {
            peer.measured(rtt);
        }
        context.handler.health(HealthReport {
            peer: peer.id.clone(),
            generation: answer.map(|(generation, _)| generation),
            rtt: answer.map(|(_, rtt)| rtt),
        });
    }
}

async fn check(context: &Context, peer: &Peer) -> Option<(u64, Duration)> {
    let mut client = peer::client(peer.channel()?, context);
    let begin = now();
    let request = HealthRequest {
        generation: context.generation,
    };
    let answer = timeout(context.limits.health_timeout, client.health(request));
    let reply = answer.await.ok()?.ok()?;
    Some((reply.into_inner().generation, now() - begin))
}
