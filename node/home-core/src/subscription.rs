//! The subscription states of RFC 6121 appendix A, as tables.
//!
//! Every cell says the state after the stanza and whether the stanza goes on: to the contact
//! (outbound) or to the user's clients (inbound).

/// The settled part of a subscription: who gets whose presence (roster attribute `subscription`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Subscription {
    /// Neither.
    #[default]
    None,
    /// The user sees the contact.
    To,
    /// The contact sees the user.
    From,
    /// Both.
    Both,
}

impl Subscription {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::To => "to",
            Self::From => "from",
            Self::Both => "both",
        }
    }

    /// Reads the attribute's value.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "to" => Self::To,
            "from" => Self::From,
            "both" => Self::Both,
            _ => return None,
        })
    }

    /// The user gets the contact's presence.
    pub fn sees_contact(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// The contact gets the user's presence.
    pub fn seen_by_contact(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }
}

/// The nine states of appendix A.1. `Out`: we asked and wait. `In`: the contact asked and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// "None".
    None,
    /// "None + Pending Out".
    NonePendingOut,
    /// "None + Pending In".
    NonePendingIn,
    /// "None + Pending Out+In".
    NonePendingOutIn,
    /// "To".
    To,
    /// "To + Pending In".
    ToPendingIn,
    /// "From".
    From,
    /// "From + Pending Out".
    FromPendingOut,
    /// "Both".
    Both,
}

impl State {
    /// All states, in the order of the appendix.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NonePendingOut,
        Self::NonePendingIn,
        Self::NonePendingOutIn,
        Self::To,
        Self::ToPendingIn,
        Self::From,
        Self::FromPendingOut,
        Self::Both,
    ];

    /// From what is kept: the roster entry's attributes and whether a request waits. Combinations
    /// that the RFC does not have lose the pending part that makes no sense.
    pub fn new(subscription: Subscription, pending_out: bool, pending_in: bool) -> Self {
        match (subscription, pending_out, pending_in) {
            (Subscription::None, false, false) => Self::None,
            (Subscription::None, true, false) => Self::NonePendingOut,
            (Subscription::None, false, true) => Self::NonePendingIn,
            (Subscription::None, true, true) => Self::NonePendingOutIn,
            (Subscription::To, _, false) => Self::To,
            (Subscription::To, _, true) => Self::ToPendingIn,
            (Subscription::From, false, _) => Self::From,
            (Subscription::From, true, _) => Self::FromPendingOut,
            (Subscription::Both, _, _) => Self::Both,
        }
    }

    /// The roster attribute.
    pub fn subscription(self) -> Subscription {
        match self {
            Self::None | Self::NonePendingOut | Self::NonePendingIn | Self::NonePendingOutIn => {
                Subscription::None
            }
            Self::To | Self::ToPendingIn => Subscription::To,
            Self::From | Self::FromPendingOut => Subscription::From,
            Self::Both => Subscription::Both,
        }
    }

    /// `ask='subscribe'`.
    pub fn pending_out(self) -> bool {
        matches!(
            self,
            Self::NonePendingOut | Self::NonePendingOutIn | Self::FromPendingOut
        )
    }

    /// The contact waits for our answer.
    pub fn pending_in(self) -> bool {
        matches!(
            self,
            Self::NonePendingIn | Self::NonePendingOutIn | Self::ToPendingIn
        )
    }
}

/// The four subscription stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// Asks to see the other's presence.
    Subscribe,
    /// Gives that up.
    Unsubscribe,
    /// Grants it.
    Subscribed,
    /// Refuses it or takes it back.
    Unsubscribed,
}

impl Request {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Subscribed,
        Self::Unsubscribed,
    ];

    /// The stanza's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    /// Reads a presence stanza's `type`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|request| request.as_str() == text)
    }
}

/// A cell of a table for stanzas that our user sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbound {
    /// State afterwards.
    pub state: State,
    /// Whether the stanza goes to the contact.
    pub route: bool,
    /// Pre-approval flag afterwards, if the cell sets it (section 3.4).
    pub approved: Option<bool>,
}

/// Tables A.2.1 to A.2.4.
pub fn outbound(state: State, request: Request) -> Outbound {
    use State::*;
    let (next, route) = match request {
        Request::Subscribe => match state {
            None => (NonePendingOut, true),
            NonePendingIn => (NonePendingOutIn, true),
            From => (FromPendingOut, true),
            NonePendingOut | NonePendingOutIn | To | ToPendingIn | FromPendingOut | Both => {
                (state, true)
            }
        },
        Request::Unsubscribe => match state {
            None | NonePendingOut | To => (None, true),
            NonePendingIn | NonePendingOutIn | ToPendingIn => (NonePendingIn, true),
            From | FromPendingOut | Both => (From, true),
        },
        Request::Subscribed => match state {
            NonePendingIn => (From, true),
            NonePendingOutIn => (FromPendingOut, true),
            ToPendingIn => (Both, true),
            None | NonePendingOut | To | From | FromPendingOut | Both => (state, false),
        },
        Request::Unsubscribed => match state {
            NonePendingIn | From => (None, true),
            NonePendingOutIn | FromPendingOut => (NonePendingOut, true),
            ToPendingIn | Both => (To, true),
            None | NonePendingOut | To => (state, false),
        },
    };
    let approved = match (request, state) {
        (Request::Subscribed, None | NonePendingOut | To) => Some(true),
        (Request::Unsubscribed, _) => Some(false),
        _ => Option::None,
    };
    Outbound {
        state: next,
        route,
        approved,
    }
}

/// A cell of a table for stanzas that the contact sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// State afterwards.
    pub state: State,
    /// Whether the user's clients get the stanza.
    pub deliver: bool,
    /// Whether the server answers `subscribed` for the user.
    pub answer_subscribed: bool,
}

/// Tables A.3.1 to A.3.4. `approved`: the request was granted in advance (section 3.4.2).
pub fn inbound(state: State, request: Request, approved: bool) -> Inbound {
    use State::*;
    if request == Request::Subscribe {
        let (next, deliver, answer_subscribed) = match (state, approved) {
            (None, true) => (From, false, true),
            (NonePendingOut, true) => (FromPendingOut, false, true),
            (To, true) => (Both, false, true),
            (None, false) => (NonePendingIn, true, false),
            (NonePendingOut, false) => (NonePendingOutIn, true, false),
            (To, false) => (ToPendingIn, true, false),
            (NonePendingIn | NonePendingOutIn | ToPendingIn, _) => (state, false, false),
            (From | FromPendingOut | Both, _) => (state, false, true),
        };
        return Inbound {
            state: next,
            deliver,
            answer_subscribed,
        };
    }
    let next = match request {
        Request::Subscribe => unreachable!("handled above"),
        Request::Unsubscribe => match state {
            NonePendingIn | From => None,
            NonePendingOutIn | FromPendingOut => NonePendingOut,
            ToPendingIn | Both => To,
            None | NonePendingOut | To => state,
        },
        Request::Subscribed => match state {
            NonePendingOut => To,
            NonePendingOutIn => ToPendingIn,
            FromPendingOut => Both,
            None | NonePendingIn | To | ToPendingIn | From | Both => state,
        },
        Request::Unsubscribed => match state {
            NonePendingOut | To => None,
            NonePendingOutIn | ToPendingIn => NonePendingIn,
            FromPendingOut | Both => From,
            None | NonePendingIn | From => state,
        },
    };
    Inbound {
        state: next,
        deliver: next != state,
        answer_subscribed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::State::*;
    use super::*;

    /// One row per state of the appendix, in its order: the next state, or `-` for no change.
    fn check_outbound(request: Request, rows: [(bool, State); 9]) {
        for (state, (route, next)) in State::ALL.into_iter().zip(rows) {
            let cell = outbound(state, request);
            assert_eq!(
                (cell.route, cell.state),
                (route, next),
                "{request:?} in {state:?}"
            );
        }
    }

    fn check_inbound(request: Request, rows: [(bool, State); 9]) {
        for (state, (deliver, next)) in State::ALL.into_iter().zip(rows) {
            let cell = inbound(state, request, false);
            assert_eq!(
                (cell.deliver, cell.state),
                (deliver, next),
                "{request:?} in {state:?}"
            );
        }
    }

    #[test]
    fn a_2_1_outbound_subscribe() {
        check_outbound(
            Request::Subscribe,
            [
                (true, NonePendingOut),
                (true, NonePendingOut),
                (true, NonePendingOutIn),
                (true, NonePendingOutIn),
                (true, To),
                (true, ToPendingIn),
                (true, FromPendingOut),
                (true, FromPendingOut),
                (true, Both),
            ],
        );
    }

    #[test]
    fn a_2_2_outbound_unsubscribe() {
        check_outbound(
            Request::Unsubscribe,
            [
                (true, None),
                (true, None),
                (true, NonePendingIn),
                (true, NonePendingIn),
                (true, None),
                (true, NonePendingIn),
                (true, From),
                (true, From),
                (true, From),
            ],
        );
    }

    #[test]
    fn a_2_3_outbound_subscribed() {
        check_outbound(
            Request::Subscribed,
            [
                (false, None),
                (false, NonePendingOut),
                (true, From),
                (true, FromPendingOut),
                (false, To),
                (true, Both),
                (false, From),
                (false, FromPendingOut),
                (false, Both),
            ],
        );
        for state in State::ALL {
            let pre_approves = matches!(state, None | NonePendingOut | To);
            assert_eq!(
                outbound(state, Request::Subscribed).approved == Some(true),
                pre_approves,
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_2_4_outbound_unsubscribed() {
        check_outbound(
            Request::Unsubscribed,
            [
                (false, None),
                (false, NonePendingOut),
                (true, None),
                (true, NonePendingOut),
                (false, To),
                (true, To),
                (true, None),
                (true, NonePendingOut),
                (true, To),
            ],
        );
        for state in State::ALL {
            assert_eq!(
                outbound(state, Request::Unsubscribed).approved,
                Some(false),
                "cancels pre-approval"
            );
        }
    }

    #[test]
    fn a_3_1_inbound_subscribe() {
        check_inbound(
            Request::Subscribe,
            [
                (true, NonePendingIn),
                (true, NonePendingOutIn),
                (false, NonePendingIn),
                (false, NonePendingOutIn),
                (true, ToPendingIn),
                (false, ToPendingIn),
                (false, From),
                (false, FromPendingOut),
                (false, Both),
            ],
        );
        for state in State::ALL {
            let settled = matches!(state, From | FromPendingOut | Both);
            assert_eq!(
                inbound(state, Request::Subscribe, false).answer_subscribed,
                settled,
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_3_1_inbound_subscribe_with_pre_approval() {
        for (state, next) in [(None, From), (NonePendingOut, FromPendingOut), (To, Both)] {
            let cell = inbound(state, Request::Subscribe, true);
            assert_eq!(
                cell,
                Inbound {
                    state: next,
                    deliver: false,
                    answer_subscribed: true
                }
            );
        }
    }

    #[test]
    fn a_3_2_inbound_unsubscribe() {
        check_inbound(
            Request::Unsubscribe,
            [
                (false, None),
                (false, NonePendingOut),
                (true, None),
                (true, NonePendingOut),
                (false, To),
                (true, To),
                (true, None),
                (true, NonePendingOut),
                (true, To),
            ],
        );
    }

    #[test]
    fn a_3_3_inbound_subscribed() {
        check_inbound(
            Request::Subscribed,
            [
                (false, None),
                (true, To),
                (false, NonePendingIn),
                (true, ToPendingIn),
                (false, To),
                (false, ToPendingIn),
                (false, From),
                (true, Both),
                (false, Both),
            ],
        );
    }

    #[test]
    fn a_3_4_inbound_unsubscribed() {
        check_inbound(
            Request::Unsubscribed,
            [
                (false, None),
                (true, None),
                (false, NonePendingIn),
                (true, NonePendingIn),
                (true, None),
                (true, NonePendingIn),
                (false, From),
                (true, From),
                (true, From),
            ],
        );
    }

    #[test]
    fn states_survive_the_roster_attributes() {
        for state in State::ALL {
            assert_eq!(
                State::new(
                    state.subscription(),
                    state.pending_out(),
                    state.pending_in()
                ),
                state
            );
        }
    }
}
