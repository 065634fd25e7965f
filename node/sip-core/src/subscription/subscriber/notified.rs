//! NOTIFY and what comes of it (RFC 6665 section 4.1.3).

use std::time::{Duration, Instant};

use super::verdict::{Again, after_notify};
use super::{Output, Phase, RefusedBy, Standing, Subscribed, Subscriber, document_of};
use crate::dialog::{Admission, Dialog, Head};
use crate::header::Substate;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;
use crate::subscription::PACKAGE;
use crate::usage::RequestId;

impl Subscriber {
    /// NOTIFY came (section 4.1.3). BENOTIFY has no name, as it gets no response.
    pub(super) fn notify(&mut self, now: Instant, id: Option<RequestId>, request: &Message) {
        let status = self.take_notify(now, request);
        if let Some(id) = id {
            let reply = Reply::new(request, status, "");
            // The answer goes before what the NOTIFY causes: the peer may wait for it.
            self.outputs.push_front(Output::Respond { id, reply });
        }
    }

    pub(super) fn take_notify(&mut self, now: Instant, request: &Message) -> Status {
        let Ok(head) = Head::of(request) else {
            return Status::BAD_REQUEST;
        };
        match request.event() {
            Ok(None) => {}
            Ok(Some(event)) if event.package.eq_ignore_ascii_case(PACKAGE) => {}
            Ok(Some(_)) => return Status::BAD_EVENT,
            Err(_) => return Status::BAD_REQUEST,
        }
        let Ok(state) = request.subscription_state() else {
            return Status::BAD_REQUEST;
        };
        let to = head.to.tag().unwrap_or_default();
        match &mut self.phase {
            // It overtook the response, or the response made no dialog.
            Phase::Asking(attempt) if head.call_id == &*attempt.call_id && to == &*attempt.tag => {
                let Ok(dialog) = Dialog::of_request(request, to, attempt.cseq) else {
                    return Status::BAD_REQUEST;
                };
                let request = attempt.id.map(|id| (id, attempt.until));
                self.phase = Phase::Subscribed(Box::new(Subscribed {
                    dialog,
                    began: Some(now),
                    expires: now,
                    refresh: now,
                    request,
                    first_notify: None,
                    asks_after_outage: false,
                }));
                self.expires(now, self.ask);
                self.outputs.push_back(Output::Persist);
            }
            Phase::Subscribed(subscribed) if subscribed.dialog.owns_request(&head) => {
                match subscribed.dialog.admit(head.cseq.number) {
                    Admission::Fresh => {}
                    Admission::Repeated => return Status::OK,
                    Admission::Stale => return Status::SERVER_INTERNAL_ERROR,
                }
                subscribed.first_notify = None;
                subscribed.dialog.refresh_target(request);
            }
            Phase::Ending { dialog, .. } if dialog.owns_request(&head) => {
                if state.is_some_and(|state| state.state == Substate::Terminated) {
                    self.end();
                }
                return Status::OK;
            }
            // Another fork of our SUBSCRIBE, or a dialog of long ago.
            _ => return Status::CALL_DOES_NOT_EXIST,
        }
        if let Some(document) = document_of(request) {
            self.show(document);
        }
        match state.map(|state| state.state) {
            Some(Substate::Terminated) => {
                let (reason, retry_after) = state
                    .map(|state| (state.reason(), state.retry_after()))
                    .unwrap_or_default();
                self.terminated(now, reason.unwrap_or_default(), retry_after);
            }
            word => {
                self.stand(match word {
                    Some(Substate::Pending) => Standing::Pending,
                    // COMPAT: no Subscription-State at all is taken as active.
                    _ => Standing::Active,
                });
                if let Some(seconds) = state.and_then(|state| state.expires()) {
                    self.shorten(now, Duration::from_secs(seconds.into()));
                }
            }
        }
        Status::OK
    }

    /// The peer says in a NOTIFY how much is left. Only less than we know is news: it is a countdown, and
    /// a new refresh time after each NOTIFY would never come.
    pub(super) fn shorten(&mut self, now: Instant, left: Duration) {
        const NOISE: Duration = Duration::from_secs(5);
        if let Phase::Subscribed(subscribed) = &self.phase
            && now + left + NOISE < subscribed.expires
        {
            self.expires(now, left);
            self.outputs.push_back(Output::Persist);
        }
    }

    /// The peer ended the subscription.
    pub(super) fn terminated(&mut self, now: Instant, reason: &str, retry_after: Option<u32>) {
        if self.unwanted {
            return self.end();
        }
        let again = after_notify(reason, retry_after);
        self.again(now, again);
        match again {
            Again::Never => self.outputs.push_back(Output::Refused {
                by: RefusedBy::reason(reason),
                final_: true,
            }),
            Again::Later(_) => self.stand(Standing::Unknown),
            Again::AtOnce => {}
        }
    }
}
