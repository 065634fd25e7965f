//! Stream management as the client's user sees it (XEP-0198).

use std::borrow::Cow;

use bytes::Bytes;

use super::Client;
use crate::error::ClientError;
use crate::stanza::escape;
use crate::stream_management::{ResumeState, StreamManagement};

impl Client {
    /// Enables stream management (XEP-0198). From here on `<r/>` is answered and acks are counted
    /// by the client itself, and neither shows up among the received stanzas.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_sm(&mut self, resume: bool) -> Result<(), ClientError> {
        let resume = if resume { " resume='true'" } else { "" };
        self.queue(&format!("<enable xmlns='urn:xmpp:sm:3'{resume}/>"));
        let answer = self
            .expect(self.step_timeout, |s| s.contains("urn:xmpp:sm:3"))
            .await?;
        if answer.name() != "enabled" {
            return Err(ClientError::Refused(answer));
        }
        let granted = matches!(answer.raw_attr("resume"), Some("true" | "1"));
        let id = answer.attr("id").filter(|_| granted);
        self.sm = Some(StreamManagement::enabled(id.map(Cow::into_owned)));
        Ok(())
    }

    /// Resumes an earlier stream in place of binding; stanzas it left unacked are sent again.
    /// Gives the state back if the server refuses: bind and send them anew then.
    ///
    /// # Errors
    /// When the connection fails meanwhile (the state is lost with it only if it was taken in; use
    /// [`try_resume`](Self::try_resume) to keep it).
    pub async fn resume(&mut self, state: ResumeState) -> Result<Option<ResumeState>, ClientError> {
        let mut state = Some(state);
        self.try_resume(&mut state).await?;
        Ok(state)
    }

    /// As [`resume`](Self::resume), but `state` is emptied only on success, so that nothing is lost
    /// when the connection breaks in between.
    ///
    /// # Errors
    /// When the connection fails or something else than an answer comes.
    pub async fn try_resume(&mut self, state: &mut Option<ResumeState>) -> Result<(), ClientError> {
        let Some(wanted) = state.as_mut() else {
            return Ok(());
        };
        let Some(id) = &wanted.sm.id else {
            return Ok(());
        };
        self.queue(&format!(
            "<resume xmlns='urn:xmpp:sm:3' previd='{}' h='{}'/>",
            escape(id),
            wanted.sm.handled
        ));
        let answer = self.step().await?;
        let h = answer.raw_attr("h").and_then(|h| h.parse().ok());
        if let Some(h) = h {
            wanted.sm.ack(h);
        }
        if answer.name() != "resumed" {
            return if answer.is("failed") {
                Ok(())
            } else {
                Err(ClientError::Unexpected(answer))
            };
        }
        if let Some(mut resumed) = state.take() {
            self.jid = resumed.jid;
            for stanza in resumed.sm.unacked_stanzas() {
                self.outgoing.extend_from_slice(stanza);
            }
            resumed.sm.asked = false;
            self.sm = Some(resumed.sm);
        }
        Ok(())
    }

    /// What to give to a later [`resume`](Self::resume); `None` without stream management. Drops
    /// the connection without closing the stream.
    pub fn into_resume_state(self) -> Option<ResumeState> {
        let jid = self.jid;
        self.sm.map(|sm| ResumeState { sm, jid })
    }

    /// Appends one stanza, and remembers `tag` until the server acks it.
    pub fn queue_stanza(&mut self, xml: Bytes, tag: u64) {
        self.outgoing.extend_from_slice(&xml);
        if let Some(sm) = &mut self.sm {
            sm.sent(Some(tag), xml);
        }
    }

    /// Asks for an ack, unless one was asked for already and is still to come.
    pub fn ask_for_ack(&mut self) {
        if let Some(sm) = self.sm.as_mut().filter(|sm| !sm.asked) {
            sm.asked = true;
            self.outgoing
                .extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        }
    }

    /// Whether an ack was asked for and has not come.
    pub fn waits_for_ack(&self) -> bool {
        self.sm.as_ref().is_some_and(|sm| sm.asked)
    }

    /// Tags acked by the server since the last call.
    pub fn take_acked(&mut self) -> Vec<u64> {
        self.sm
            .as_mut()
            .map(StreamManagement::take_acked)
            .unwrap_or_default()
    }

    /// Stanzas sent that the server has not acked; 0 without stream management.
    pub fn unacked(&self) -> usize {
        self.sm.as_ref().map_or(0, StreamManagement::unacked)
    }
}
