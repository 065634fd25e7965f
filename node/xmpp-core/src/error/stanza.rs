//! Stanza errors (RFC 6120 section 8.3).

use std::borrow::Cow;

use super::conditions;
use crate::element::Element;
use crate::ns;

conditions! {
    /// The defined conditions of RFC 6120 section 8.3.3.
    pub enum StanzaCondition {
        /// Malformed contents.
        BadRequest = "bad-request",
        /// Something with that name exists.
        Conflict = "conflict",
        /// Understood, but not implemented.
        FeatureNotImplemented = "feature-not-implemented",
        /// Lacks the permission.
        Forbidden = "forbidden",
        /// Not at this address any more (the new one is in [`StanzaError::new_address`]).
        Gone = "gone",
        /// Our own failure.
        InternalServerError = "internal-server-error",
        /// No such item.
        ItemNotFound = "item-not-found",
        /// Not an address.
        JidMalformed = "jid-malformed",
        /// Against the recipient's criteria.
        NotAcceptable = "not-acceptable",
        /// Nobody may do this.
        NotAllowed = "not-allowed",
        /// Credentials are needed.
        NotAuthorized = "not-authorized",
        /// Against local policy.
        PolicyViolation = "policy-violation",
        /// The recipient is not there for now.
        RecipientUnavailable = "recipient-unavailable",
        /// Elsewhere for now (the address is in [`StanzaError::new_address`]).
        Redirect = "redirect",
        /// Registration first.
        RegistrationRequired = "registration-required",
        /// The remote domain does not exist or cannot be resolved.
        RemoteServerNotFound = "remote-server-not-found",
        /// The remote domain did not answer in time.
        RemoteServerTimeout = "remote-server-timeout",
        /// Too busy.
        ResourceConstraint = "resource-constraint",
        /// The service is not offered.
        ServiceUnavailable = "service-unavailable",
        /// A subscription is needed.
        SubscriptionRequired = "subscription-required",
        /// None of the others; an application condition says more.
        UndefinedCondition = "undefined-condition",
        /// Understood, but out of order.
        UnexpectedRequest = "unexpected-request",
    }
}

/// What the sender may do about an error (RFC 6120 section 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Proceed: only a warning.
    Continue,
    /// Retry after changing what was sent.
    Modify,
    /// Retry after waiting.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    /// The type with this attribute value.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "auth" => Self::Auth,
            "cancel" => Self::Cancel,
            "continue" => Self::Continue,
            "modify" => Self::Modify,
            "wait" => Self::Wait,
            _ => return None,
        })
    }
}

impl StanzaCondition {
    /// The type that RFC 6120 section 8.3.3 joins to the condition.
    #[must_use]
    pub const fn default_type(self) -> ErrorType {
        match self {
            Self::BadRequest
            | Self::JidMalformed
            | Self::NotAcceptable
            | Self::PolicyViolation
            | Self::Redirect => ErrorType::Modify,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
            Self::Forbidden
            | Self::NotAuthorized
            | Self::RegistrationRequired
            | Self::SubscriptionRequired => ErrorType::Auth,
            Self::RecipientUnavailable
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
        }
    }
}

/// The `<error/>` child of a stanza of type error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("stanza error {condition}")]
pub struct StanzaError {
    /// What the sender may do.
    pub kind: ErrorType,
    /// The defined condition.
    pub condition: StanzaCondition,
    /// For people, in English.
    pub text: Option<Cow<'static, str>>,
    /// Says more to programs.
    pub application: Option<Element>,
    /// Where the recipient is now; only with gone and redirect.
    pub new_address: Option<String>,
}

impl StanzaError {
    /// An error of this condition with its usual type.
    #[must_use]
    pub const fn new(condition: StanzaCondition) -> Self {
        Self {
            kind: condition.default_type(),
            condition,
            text: None,
            application: None,
            new_address: None,
        }
    }

    /// Another type than the usual.
    #[must_use]
    pub const fn with_type(mut self, kind: ErrorType) -> Self {
        self.kind = kind;
        self
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

    /// The `<error/>` element, in the content namespace `content_ns`.
    #[must_use]
    pub fn to_element(&self, content_ns: &'static str) -> Element {
        let mut condition = Element::new(ns::STANZA_ERROR, self.condition.as_str());
        if let Some(address) = &self.new_address {
            condition.push_text(address.clone());
        }
        let mut error = Element::new(content_ns, "error").attr("type", self.kind.as_str());
        error.push(condition);
        if let Some(text) = &self.text {
            error.push(
                Element::new(ns::STANZA_ERROR, "text")
                    .attr("xml:lang", "en")
                    .text(text.clone()),
            );
        }
        if let Some(application) = &self.application {
            error.push(application.clone());
        }
        error
    }

    /// Reads the `<error/>` child of a stanza. An unknown or missing condition counts as
    /// undefined-condition, an unknown type as the condition's usual one (RFC 6120 section 8.3.1).
    #[must_use]
    pub fn from_element(error: &Element) -> Self {
        let mut read = Self::new(StanzaCondition::UndefinedCondition);
        for child in error.elements() {
            if child.ns() != ns::STANZA_ERROR {
                read.application = Some(child.clone());
            } else if child.name() == "text" {
                read.text = Some(child.content_text().into_owned().into());
            } else if let Some(condition) = StanzaCondition::from_name(child.name()) {
                read.condition = condition;
                if matches!(condition, StanzaCondition::Gone | StanzaCondition::Redirect) {
                    read.new_address = Some(child.content_text().into_owned());
                }
            }
        }
        read.kind = error
            .get_attr("type")
            .and_then(ErrorType::from_name)
            .unwrap_or_else(|| read.condition.default_type());
        read
    }
}

impl From<StanzaCondition> for StanzaError {
    fn from(condition: StanzaCondition) -> Self {
        Self::new(condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let error = StanzaError::new(StanzaCondition::Gone)
            .with_text("moved & left")
            .with_application(Element::new("urn:x", "y"));
        let error = StanzaError {
            new_address: Some("xmpp:a@b".into()),
            ..error
        };
        let element = error.to_element(ns::CLIENT);
        assert_eq!(StanzaError::from_element(&element), error);
    }

    #[test]
    fn every_condition_has_its_name() {
        for condition in StanzaCondition::ALL {
            assert_eq!(
                StanzaCondition::from_name(condition.as_str()),
                Some(*condition)
            );
        }
        assert_eq!(StanzaCondition::from_name("text"), None);
    }
}
