//! The gRPC service: what other nodes may do here.

use std::sync::Arc;
use std::time::Instant;

use entente_proto::mesh::v1::mesh_server::{Mesh as MeshService, MeshServer};
use entente_proto::mesh::v1::{
    CallReply, CallRequest, HealthReply, HealthRequest, LinkAck, LinkBatch, refused,
};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, error, warn};

use super::dial::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::fault::CallRefusal;
use super::inbox::{Attachment, Inbox, Rejected, Stale};
use super::listener::{self, Caller};
use super::peers::Peers;
use super::{Context, now, wire};
use crate::NodeId;

/// Serves until stopped.
pub(super) async fn serve(
    context: Arc<Context>,
    listener: TcpListener,
    inbox: Arc<Inbox>,
    peers: Arc<Peers>,
    stop: CancellationToken,
) {
    let limits = &context.limits;
    let (streams, incoming) = mpsc::channel(ACCEPTED);
    let bytes = limits.max_message_bytes();
    let service = MeshServer::new(Service {
        calls: Semaphore::new(limits.max_calls),
        context: Arc::clone(&context),
        inbox,
        peers,
        stop: stop.clone(),
    })
    .max_decoding_message_size(bytes)
    .max_encoding_message_size(bytes);
    let streams_per_connection = u32::try_from(limits.max_calls)
        .unwrap_or(u32::MAX)
        .saturating_add(STREAMS_BESIDE_CALLS);
    let server = Server::builder()
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(HTTP2_FRAME)
        .max_concurrent_streams(streams_per_connection)
        .add_service(service)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(incoming),
            stop.clone().cancelled_owned(),
        );
    let accept = listener::accept(Arc::clone(&context), listener, streams, stop);
    let (served, ()) = tokio::join!(server, accept);
    if let Err(error) = served {
        error!(%error, "the mesh server ended");
    }
}

/// Accepted connections that wait for the server to look at them.
const ACCEPTED: usize = 16;
/// The link, health checks, and some that are just ending.
const STREAMS_BESIDE_CALLS: u32 = 16;
/// Larger than HTTP/2's 16 KiB, because batches are.
const HTTP2_FRAME: u32 = 128 * 1024;

struct Service {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    peers: Arc<Peers>,
    calls: Semaphore,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl MeshService for Service {
    type LinkStream = ReceiverStream<Result<LinkAck, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<LinkBatch>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let caller = caller_of(&request)?;
        let mut batches = request.into_inner();
        let first = tokio::time::timeout(self.context.limits.hello_timeout, batches.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello in time"))??
            .ok_or_else(|| Status::invalid_argument("no hello"))?;
        // Room for the first answer, which therefore needs no waiting, and for one ack.
        let (answers, stream) = mpsc::channel(2);
        let first = match self.greet(&caller, &first) {
            Ok((attachment, version)) => {
                // It is alive: if our own link to it is down, now is the time.
                if let Some(peer) = self.peers.get(&caller) {
                    peer.nudge.notify_one();
                }
                let welcome = wire::welcome(
                    &self.context.local,
                    self.context.generation,
                    version,
                    attachment.resumed,
                    attachment.received,
                );
                tokio::spawn(receive(
                    Arc::clone(&self.inbox),
                    attachment,
                    batches,
                    answers.clone(),
                    self.stop.clone(),
                ));
                welcome
            }
            Err(reason) => {
                warn!(peer = %caller, ?reason, "the mesh refused a link");
                wire::refused(reason)
            }
        };
        // The receiver is in our hands, and the channel is empty.
        let _ = answers.try_send(Ok(first));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn health(
        &self,
        request: Request<HealthRequest>,
    ) -> Result<Response<HealthReply>, Status> {
        caller_of(&request)?;
        Ok(Response::new(HealthReply {
            generation: self.context.generation,
        }))
    }

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallReply>, Status> {
        let caller = caller_of(&request)?;
        let CallRequest { kind, payload } = request.into_inner();
        let result = match self.calls.try_acquire() {
            Ok(_permit) => self.context.handler.call(caller, kind, payload).await,
            Err(_) => Err(CallRefusal::Busy),
        };
        Ok(Response::new(wire::call_reply(result)))
    }
}

impl Service {
    fn greet(
        &self,
        caller: &NodeId,
        first: &LinkBatch,
    ) -> Result<(Attachment, u32), refused::Reason> {
        let greeting = wire::check_hello(first, caller, &self.context.local)?;
        let attachment = self
            .inbox
            .attach(caller.clone(), greeting)
            .map_err(|Stale| refused::Reason::Stale)?;
        Ok((attachment, greeting.version))
    }
}

fn caller_of<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .map(|Caller(node)| node.clone())
        .ok_or_else(|| Status::unauthenticated("no certificate"))
}

/// Takes what comes on one link until the connection ends or a newer one takes over.
async fn receive(
    inbox: Arc<Inbox>,
    attachment: Attachment,
    mut batches: Streaming<LinkBatch>,
    answers: mpsc::Sender<Result<LinkAck, Status>>,
    stop: CancellationToken,
) {
    let superseded = attachment.superseded.clone();
    let work = take_batches(&inbox, &attachment, &mut batches, &answers);
    let end = tokio::select! {
        () = stop.cancelled() => Some(Status::unavailable("shutting down")),
        () = superseded.cancelled() => Some(Status::aborted("a newer link took over")),
        () = answers.closed() => None,
        end = work => end,
    };
    inbox.detach(&attachment);
    if let Some(status) = end {
        // If there is no room the stream just ends, which says enough.
        let _ = answers.try_send(Err(status));
    }
}

async fn take_batches(
    inbox: &Inbox,
    attachment: &Attachment,
    batches: &mut Streaming<LinkBatch>,
    answers: &mpsc::Sender<Result<LinkAck, Status>>,
) -> Option<Status> {
    let mut ack_at: Option<Instant> = None;
    // Set once for each acknowledgement, and not anew for each batch.
    let ack_time = tokio::time::sleep_until(now().into());
    tokio::pin!(ack_time);
    loop {
        let batch = tokio::select! {
            biased;
            batch = batches.message() => match batch {
                Ok(Some(batch)) => Some(batch),
                Ok(None) => return None,
                Err(status) => {
                    debug!(%status, "a link broke");
                    return None;
                }
            },
            () = &mut ack_time, if ack_at.is_some() => None,
        };
        if let Some(batch) = batch
            && let Err(rejected) = inbox.deliver(attachment, now, batch).await
        {
            return Some(status_of(rejected));
        }
        match inbox.poll_ack(attachment, now()) {
            Ok((due, next)) => {
                if next != ack_at {
                    ack_at = next;
                    if let Some(at) = next {
                        ack_time.as_mut().reset(at.into());
                    }
                }
                if let Some(received) = due
                    && answers.send(Ok(wire::ack(received))).await.is_err()
                {
                    return None;
                }
            }
            Err(rejected) => return Some(status_of(rejected)),
        }
    }
}

fn status_of(rejected: Rejected) -> Status {
    match rejected {
        Rejected::Superseded => Status::aborted("a newer link took over"),
        Rejected::Closed => Status::unavailable("shutting down"),
        Rejected::Violation(violation) => {
            warn!(%violation, "a peer broke the rules of the link");
            Status::invalid_argument(violation.to_string())
        }
    }
}
