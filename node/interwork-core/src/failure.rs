//! What went wrong, told to the other side: SIP statuses as stanza errors, stanza errors as SIP
//! statuses (RFC 7247 section 7), each in words that a person understands.

use std::borrow::Cow;
use std::fmt::Write;

use entente_xmpp_core::error::{StanzaCondition, StanzaError};

use crate::address::bare_jid_of_uri;

mod delivery;
mod diagnostics;
mod table;
mod warning;

pub use delivery::DeliveryFailure;
pub use diagnostics::{MsDiagnostics, PeerTrouble};
pub use table::{condition_of, explanation, reason_phrase, status_of};
pub use warning::{warning_text, write_warning};

/// Longest text of a peer that is passed on, in characters.
const MAX_PEER_TEXT: usize = 300;

/// A failed SIP request: what the answer said. A request without an answer is 408, a connection that
/// could not be made 503 (RFC 3261 section 8.1.3.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct SipFailure<'a> {
    /// The status code.
    pub status: u16,
    /// The value of Warning, if there is one.
    pub warning: Option<&'a str>,
    /// The value of ms-diagnostics (or ms-diagnostics-public), if there is one.
    pub diagnostics: Option<&'a str>,
    /// The URI of Contact, if there is one: where the user is now.
    pub contact: Option<&'a str>,
}

impl SipFailure<'_> {
    /// A failure of which only the status is known.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        Self {
            status,
            warning: None,
            diagnostics: None,
            contact: None,
        }
    }

    /// The error that the local sender gets: the condition for the client, the text for the person,
    /// with the peer's own words where it has some.
    #[must_use]
    pub fn to_stanza_error(&self) -> StanzaError {
        let condition = condition_of(self.status);
        let mut text = explanation(self.status).to_owned();
        if let Some(words) = self.peers_words() {
            write!(text, " Their server says: {words}").expect("writing to a string");
        }
        let mut error = StanzaError::new(condition).with_text(text);
        if matches!(condition, StanzaCondition::Gone | StanzaCondition::Redirect) {
            error.new_address = self
                .contact
                .and_then(|contact| bare_jid_of_uri(contact).ok())
                .map(|jid| format!("xmpp:{jid}"));
        }
        error
    }

    /// What the peer says of the failure, cut to a sensible length.
    fn peers_words(&self) -> Option<String> {
        let words = self
            .diagnostics
            .and_then(MsDiagnostics::parse)
            .and_then(|diagnostics| diagnostics.reason)
            .or_else(|| self.warning.and_then(warning_text))?;
        let cut: String = words
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_PEER_TEXT)
            .collect();
        (!cut.trim().is_empty()).then_some(cut)
    }
}

/// A SIP answer that reports a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipAnswer {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: &'static str,
    /// Words for the person at the other end, for Warning.
    pub text: Option<Cow<'static, str>>,
}

impl SipAnswer {
    /// The usual answer with a status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        Self {
            status,
            reason: reason_phrase(status),
            text: None,
        }
    }

    /// The answer to a request whose stanza came back with an error.
    #[must_use]
    pub fn of_stanza_error(error: &StanzaError) -> Self {
        let mut answer = Self::of_status(status_of(error.condition));
        answer.text = error
            .text
            .as_ref()
            .map(|text| text.chars().take(MAX_PEER_TEXT).collect::<String>().into());
        answer
    }

    /// The value of a Warning header, if there are words for one. `host` is our public name.
    #[must_use]
    pub fn warning(&self, host: &str) -> Option<String> {
        self.text.as_ref().map(|text| write_warning(host, text))
    }
}

#[cfg(test)]
mod tests;
