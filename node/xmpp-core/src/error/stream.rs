//! Stream errors (RFC 6120 section 4.9).

use std::borrow::Cow;

use super::conditions;
use crate::element::Element;
use crate::ns;

conditions! {
    /// The defined conditions of RFC 6120 section 4.9.3.
    pub enum StreamCondition {
        /// XML that cannot be processed, or an unexpected element.
        BadFormat = "bad-format",
        /// A prefix that is not supported, or missing where one is needed.
        BadNamespacePrefix = "bad-namespace-prefix",
        /// A newer stream of the same entity takes this one's place.
        Conflict = "conflict",
        /// The peer seems to be gone.
        ConnectionTimeout = "connection-timeout",
        /// The domain in `to` is not served any more.
        HostGone = "host-gone",
        /// The domain in `to` is not served here.
        HostUnknown = "host-unknown",
        /// A stanza between servers lacks `to` or `from`, or one of them is not an address.
        ImproperAddressing = "improper-addressing",
        /// Our own failure.
        InternalServerError = "internal-server-error",
        /// `from` does not match what was authenticated.
        InvalidFrom = "invalid-from",
        /// A stream or content namespace that is not XMPP's.
        InvalidNamespace = "invalid-namespace",
        /// XML that fails validation.
        InvalidXml = "invalid-xml",
        /// Sent before authentication, or an action that is not allowed.
        NotAuthorized = "not-authorized",
        /// Breaks the rules of XML or of its namespaces.
        NotWellFormed = "not-well-formed",
        /// A local limit or rule was broken.
        PolicyViolation = "policy-violation",
        /// Another server that is needed cannot be reached.
        RemoteConnectionFailed = "remote-connection-failed",
        /// The stream is closed so that new features can be offered.
        Reset = "reset",
        /// Too busy.
        ResourceConstraint = "resource-constraint",
        /// Comments, processing instructions, DTDs, other entities (RFC 6120 section 11.1).
        RestrictedXml = "restricted-xml",
        /// Connect to another host (its name is in [`StreamError::other_host`]).
        SeeOtherHost = "see-other-host",
        /// The server is going down.
        SystemShutdown = "system-shutdown",
        /// None of the others; an application condition says more.
        UndefinedCondition = "undefined-condition",
        /// Not UTF-8.
        UnsupportedEncoding = "unsupported-encoding",
        /// A mandatory feature is not supported by the peer.
        UnsupportedFeature = "unsupported-feature",
        /// A first-level element that is no stanza.
        UnsupportedStanzaType = "unsupported-stanza-type",
        /// A version of XMPP that is not supported.
        UnsupportedVersion = "unsupported-version",
    }
}

/// `<stream:error/>`: always the last thing before the stream closes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("stream error {condition}{}", text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct StreamError {
    /// The defined condition.
    pub condition: StreamCondition,
    /// For people, in English.
    pub text: Option<Cow<'static, str>>,
    /// Says more to programs.
    pub application: Option<Element>,
    /// Where to go instead; only with [`StreamCondition::SeeOtherHost`].
    pub other_host: Option<String>,
}

impl StreamError {
    /// An error of this condition alone.
    #[must_use]
    pub const fn new(condition: StreamCondition) -> Self {
        Self {
            condition,
            text: None,
            application: None,
            other_host: None,
        }
    }

    /// Adds words for people.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Adds an application condition.
    #[must_use]
    pub fn with_application(mut self, application: Element) -> Self {
        self.application = Some(application);
        self
    }

    /// `<error xmlns='http://etherx.jabber.org/streams'/>`; the writer gives it its prefix.
    #[must_use]
    pub fn to_element(&self) -> Element {
        let mut condition = Element::new(ns::STREAM_ERROR, self.condition.as_str());
        if let Some(host) = &self.other_host {
            condition.push_text(host.clone());
        }
        let mut error = Element::new(ns::STREAM, "error");
        error.push(condition);
        if let Some(text) = &self.text {
            error.push(
                Element::new(ns::STREAM_ERROR, "text")
                    .attr("xml:lang", "en")
                    .text(text.clone()),
            );
        }
        if let Some(application) = &self.application {
            error.push(application.clone());
        }
        error
    }

    /// Reads a received `<stream:error/>`. An unknown or missing condition counts as
    /// undefined-condition.
    #[must_use]
    pub fn from_element(error: &Element) -> Self {
        let mut read = Self::new(StreamCondition::UndefinedCondition);
        for child in error.elements() {
            if child.ns() != ns::STREAM_ERROR {
                read.application = Some(child.clone());
            } else if child.name() == "text" {
                read.text = Some(child.content_text().into_owned().into());
            } else if let Some(condition) = StreamCondition::from_name(child.name()) {
                read.condition = condition;
                if condition == StreamCondition::SeeOtherHost {
                    read.other_host = Some(child.content_text().into_owned());
                }
            }
        }
        read
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> Self {
        Self::new(condition)
    }
}
