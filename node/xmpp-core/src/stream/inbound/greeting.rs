//! The peer's header, and what has to be known before ours goes out.

use std::sync::Arc;

use super::open::Open;
use super::{InboundAnswer, InboundRequest, Shared, State, features};
use crate::dialback::domain;
use crate::error::StreamCondition;
use crate::framer::{Frame, StreamHeader};
use crate::stream::wire::stream_error;
use crate::stream::{RequestId, TlsPolicy};
use crate::writer::StreamKind;

/// The peer owes a stream header.
#[derive(Debug, Default)]
pub(super) struct AwaitingHeader {
    /// The domain that authenticated by EXTERNAL on the stream before this one.
    authenticated: Option<(Arc<str>, Peer)>,
}

/// What is known of a peer: policy and certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) tls: TlsPolicy,
    pub(super) dialback: bool,
    /// Whether its certificate proves the domain in its header.
    pub(super) external: bool,
}

/// The header is read; the shell is asked about the peer, and nothing is read meanwhile.
#[derive(Debug)]
pub(super) struct Greeting {
    remote: Arc<str>,
    request: RequestId,
    /// Set once the policy is known and the certificate is asked about.
    policy: Option<Peer>,
    features: bool,
}

impl AwaitingHeader {
    pub(super) fn after_external(remote: Arc<str>, peer: Peer) -> Self {
        Self {
            authenticated: Some((remote, peer)),
        }
    }

    pub(super) fn on_frame(self, frame: Frame, shared: &mut Shared) -> State {
        match frame {
            Frame::StreamOpen(header) => self.on_header(&header, shared),
            // The framer gives nothing else before a header.
            _ => shared.fail(StreamCondition::BadFormat),
        }
    }

    fn on_header(self, header: &StreamHeader, shared: &mut Shared) -> State {
        if header.kind() != Some(StreamKind::Server) {
            return shared.fail(StreamCondition::InvalidNamespace);
        }
        // A peer that names no domain of ours gets the first: dialback says which it means.
        if let Some(to) = &header.to {
            let to = domain(to);
            let ours = to.and_then(|to| {
                let mut ours = shared.config.domains.iter();
                ours.find(|ours| **ours == to).cloned()
            });
            match ours {
                Some(ours) => shared.local = ours,
                None => return shared.fail(StreamCondition::HostUnknown),
            }
        }
        // COMPAT MongooseIM: it does not say who it is before TLS.
        let remote = match header.from.as_deref().map(domain) {
            Some(Some(remote)) if shared.config.domains.contains(&remote) => {
                return shared.fail(StreamCondition::InvalidFrom);
            }
            Some(Some(remote)) => Some(remote),
            Some(None) => return shared.fail(StreamCondition::InvalidFrom),
            None => None,
        };
        // No version is a server from before RFC 3920: it knows nothing but dialback.
        let features = header.version.is_some();
        if let Some((authenticated, peer)) = self.authenticated {
            if remote.is_some_and(|remote| remote != authenticated) {
                return shared.fail(StreamCondition::InvalidFrom);
            }
            return greet(Some(authenticated), peer, features, shared);
        }
        let Some(remote) = remote else {
            let unnamed = Peer {
                tls: shared.config.unnamed_tls,
                dialback: true,
                external: false,
            };
            return greet(None, unnamed, features, shared);
        };
        let request = shared.request(InboundRequest::Policy {
            remote: Arc::clone(&remote),
        });
        State::Greeting(Greeting {
            remote,
            request,
            policy: None,
            features,
        })
    }
}

impl Greeting {
    pub(super) fn on_answer(
        mut self,
        id: RequestId,
        answer: InboundAnswer,
        shared: &mut Shared,
    ) -> State {
        if id != self.request {
            return State::Greeting(self);
        }
        match (answer, self.policy) {
            (InboundAnswer::Denied, None) => shared.fail(stream_error(
                StreamCondition::PolicyViolation,
                "no federation with this domain",
            )),
            (InboundAnswer::Allowed { tls, dialback }, None) => {
                let peer = Peer {
                    tls,
                    dialback,
                    external: false,
                };
                if !shared.tls {
                    return greet(Some(self.remote), peer, self.features, shared);
                }
                self.request = shared.request(InboundRequest::CertificateMatches {
                    remote: Arc::clone(&self.remote),
                });
                self.policy = Some(peer);
                State::Greeting(self)
            }
            (InboundAnswer::CertificateMatches(external), Some(peer)) => {
                let peer = Peer { external, ..peer };
                greet(Some(self.remote), peer, self.features, shared)
            }
            _ => {
                debug_assert!(false, "the answer does not fit the request");
                shared.fail(StreamCondition::InternalServerError)
            }
        }
    }
}

/// Our header, with `from`, an id and the version whatever the peer's had, and features.
///
/// COMPAT MongooseIM, Openfire: they reject headers without them.
fn greet(remote: Option<Arc<str>>, peer: Peer, with_features: bool, shared: &mut Shared) -> State {
    let id: Arc<str> = shared.wire.ids.fresh().into();
    shared
        .wire
        .put_header(Some(&shared.local), remote.as_deref(), Some(&id));
    shared.remote = remote;
    if with_features {
        features::put(shared, &peer);
    }
    State::Open(Open::new(id, peer))
}
