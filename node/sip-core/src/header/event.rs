//! `Event` and `Subscription-State` (RFC 6665 section 8.4 and 4.1.3).

use crate::grammar::{is_token, number, trim};
use crate::params::Params;

/// What a subscription is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package with its templates: `presence`, `presence.winfo`.
    pub package: &'a str,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    /// Reads a value; `None` if it is malformed.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let (package, params) = head_and_params(value)?;
        Some(Self { package, params })
    }

    /// Tells subscriptions in one dialog apart.
    #[must_use]
    pub fn id(&self) -> Option<&'a str> {
        self.params.get("id")
    }
}

/// How a subscription stands, in a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// The state's word.
    pub state: Substate<'a>,
    /// All parameters.
    pub params: Params<'a>,
}

/// The word for the state of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substate<'a> {
    /// Accepted.
    Active,
    /// Not yet decided.
    Pending,
    /// Over.
    Terminated,
    /// A word of an extension, to be treated as active (RFC 6665 section 4.1.3).
    Other(&'a str),
}

impl<'a> SubscriptionState<'a> {
    /// Reads a value; `None` if it is malformed.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let (word, params) = head_and_params(value)?;
        let state = match word {
            word if word.eq_ignore_ascii_case("active") => Substate::Active,
            word if word.eq_ignore_ascii_case("pending") => Substate::Pending,
            word if word.eq_ignore_ascii_case("terminated") => Substate::Terminated,
            other => Substate::Other(other),
        };
        Some(Self { state, params })
    }

    /// Seconds that are left.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        seconds(self.params.get("expires")?)
    }

    /// Why it ended: `deactivated`, `timeout`, `rejected`, `noresource`, ...
    #[must_use]
    pub fn reason(&self) -> Option<&'a str> {
        self.params.get("reason")
    }

    /// Seconds to wait before subscribing again.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        seconds(self.params.get("retry-after")?)
    }
}

fn head_and_params(value: &str) -> Option<(&str, Params<'_>)> {
    let (head, params) = match memchr::memchr(b';', value.as_bytes()) {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    let head = trim(head);
    is_token(head).then_some((head, Params::header(params)?))
}

/// `delta-seconds`. A number too large for 32 bits is the largest (RFC 3261 section 20.19 lets one
/// treat it so).
pub(crate) fn seconds(value: &str) -> Option<u32> {
    let value = trim(value);
    match number(value) {
        Some(seconds) => Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        None if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(u32::MAX)
        }
        None => None,
    }
}
