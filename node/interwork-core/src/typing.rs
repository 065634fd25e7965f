//! Notices that somebody types: Microsoft's KeyboardActivity, isComposing (RFC 3994) and chat states
//! (XEP-0085).

use std::time::Duration;

use bytes::Bytes;

use crate::document::{Bounds, read_document};
use crate::media::MediaType;
use crate::text::TextFault;

/// The media type of isComposing, for MESSAGE.
pub const IS_COMPOSING: &str = "application/im-iscomposing+xml";
/// The media type of KeyboardActivity, for INFO. COMPAT Microsoft.
pub const KEYBOARD_ACTIVITY: &str = "application/xml";

const IS_COMPOSING_NS: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// How long typing counts if the notice does not say (RFC 3994 section 3.3).
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(120);
/// The least that a notice may ask for (RFC 3994 section 3.3).
pub const MIN_REFRESH: Duration = Duration::from_secs(60);

/// Whether somebody types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// Types. Counts until a text or another notice comes, or for this long.
    Composing {
        /// The time after which it counts no more.
        refresh: Duration,
    },
    /// Has stopped.
    Idle,
}

impl Typing {
    /// Types, for the usual time.
    pub const COMPOSING: Self = Self::Composing {
        refresh: DEFAULT_REFRESH,
    };

    /// What XMPP clients are told. The text itself says `active`; who has stopped without a text has
    /// paused.
    #[must_use]
    pub const fn chat_state(self) -> ChatState {
        match self {
            Self::Composing { .. } => ChatState::Composing,
            Self::Idle => ChatState::Paused,
        }
    }

    /// The body of an INFO with [`KEYBOARD_ACTIVITY`].
    #[must_use]
    pub const fn to_keyboard_activity(self) -> &'static str {
        match self {
            Self::Composing { .. } => {
                "<?xml version=\"1.0\"?>\r\n<KeyboardActivity>\r\n  <status status=\"type\" />\r\n</KeyboardActivity>\r\n"
            }
            Self::Idle => {
                "<?xml version=\"1.0\"?>\r\n<KeyboardActivity>\r\n  <status status=\"idle\" />\r\n</KeyboardActivity>\r\n"
            }
        }
    }

    /// The body of a MESSAGE with [`IS_COMPOSING`].
    #[must_use]
    pub fn to_is_composing(self) -> Bytes {
        let state = match self {
            Self::Composing { .. } => "active",
            Self::Idle => "idle",
        };
        let refresh = match self {
            Self::Composing { refresh } => format!("<refresh>{}</refresh>", refresh.as_secs()),
            Self::Idle => String::new(),
        };
        Bytes::from(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <isComposing xmlns=\"{IS_COMPOSING_NS}\"><state>{state}</state>\
             <contenttype>text/plain</contenttype>{refresh}</isComposing>\r\n"
        ))
    }
}

/// The states of XEP-0085.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatState {
    /// Takes part in the conversation.
    Active,
    /// Types.
    Composing,
    /// Has stopped typing.
    Paused,
    /// Pays no attention.
    Inactive,
    /// Has left the conversation: the session may end (RFC 7573 section 5).
    Gone,
}

impl ChatState {
    /// The element's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Composing => "composing",
            Self::Paused => "paused",
            Self::Inactive => "inactive",
            Self::Gone => "gone",
        }
    }

    /// The state with this element name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "active" => Self::Active,
            "composing" => Self::Composing,
            "paused" => Self::Paused,
            "inactive" => Self::Inactive,
            "gone" => Self::Gone,
            _ => return None,
        })
    }

    /// What SIP peers are told.
    #[must_use]
    pub const fn typing(self) -> Typing {
        match self {
            Self::Composing => Typing::COMPOSING,
            Self::Active | Self::Paused | Self::Inactive | Self::Gone => Typing::Idle,
        }
    }
}

/// Reads a notice of either kind.
///
/// # Errors
/// [`TextFault::Malformed`] if it is not XML, [`TextFault::Unsupported`] if it is another document.
pub fn read(media: &MediaType, body: &[u8]) -> Result<Typing, TextFault> {
    let root = read_document(body, &Bounds::BODY).map_err(|_| TextFault::Malformed)?;
    match (media.name(), root.name()) {
        (IS_COMPOSING, "isComposing") => {
            let child = |name: &str| root.elements().find(|child| child.name() == name);
            let state = child("state").ok_or(TextFault::Malformed)?;
            if state.content_text().trim() != "active" {
                // Any other state means idle (RFC 3994 section 3.2).
                return Ok(Typing::Idle);
            }
            let seconds =
                child("refresh").and_then(|refresh| refresh.content_text().trim().parse().ok());
            let refresh = seconds.map_or(DEFAULT_REFRESH, Duration::from_secs);
            Ok(Typing::Composing {
                refresh: refresh.clamp(MIN_REFRESH, Duration::from_secs(3_600)),
            })
        }
        (_, "KeyboardActivity") => {
            let status = root.elements().find(|child| child.name() == "status");
            match status.and_then(|status| status.get_attr("status")) {
                Some("type") => Ok(Typing::COMPOSING),
                Some(_) => Ok(Typing::Idle),
                None => Err(TextFault::Malformed),
            }
        }
        _ => Err(TextFault::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_as(content_type: &str, body: &str) -> Result<Typing, TextFault> {
        read(&MediaType::parse(content_type).unwrap(), body.as_bytes())
    }

    #[test]
    fn what_is_written_is_read() {
        for typing in [Typing::COMPOSING, Typing::Idle] {
            let notice = typing.to_keyboard_activity();
            assert_eq!(read_as(KEYBOARD_ACTIVITY, notice), Ok(typing));
            let notice = typing.to_is_composing();
            let notice = std::str::from_utf8(&notice).unwrap();
            assert_eq!(read_as(IS_COMPOSING, notice), Ok(typing));
        }
    }

    #[test]
    fn notices_of_other_software() {
        let keyboard = "<KeyboardActivity><status status=\"type\" /></KeyboardActivity>";
        assert_eq!(
            read_as("application/xml; charset=utf-8", keyboard),
            Ok(Typing::COMPOSING)
        );
        let composing = "<?xml version='1.0' encoding='UTF-8'?>\
            <isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing' \
            xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>\
            <state>active</state><contenttype>text/plain</contenttype>\
            <refresh>90</refresh></isComposing>";
        assert_eq!(
            read_as(IS_COMPOSING, composing),
            Ok(Typing::Composing {
                refresh: Duration::from_secs(90)
            })
        );
        let strange = composing.replace("active", "pondering");
        assert_eq!(read_as(IS_COMPOSING, &strange), Ok(Typing::Idle));
        for (asked, granted) in [("1", 60), ("99999999999", 3_600), ("-5", 120)] {
            let notice = composing.replace("90", asked);
            assert_eq!(
                read_as(IS_COMPOSING, &notice),
                Ok(Typing::Composing {
                    refresh: Duration::from_secs(granted)
                })
            );
        }
    }

    #[test]
    fn other_documents_are_no_notices() {
        for (content_type, body, fault) in [
            (KEYBOARD_ACTIVITY, "<other/>", TextFault::Unsupported),
            (KEYBOARD_ACTIVITY, "not xml", TextFault::Malformed),
            (
                KEYBOARD_ACTIVITY,
                "<KeyboardActivity/>",
                TextFault::Malformed,
            ),
            (IS_COMPOSING, "<isComposing/>", TextFault::Malformed),
        ] {
            assert_eq!(read_as(content_type, body), Err(fault), "{body}");
        }
    }

    #[test]
    fn chat_states_are_notices_and_notices_chat_states() {
        for state in ["active", "composing", "paused", "inactive", "gone"] {
            let state = ChatState::from_name(state).unwrap();
            assert_eq!(ChatState::from_name(state.as_str()), Some(state));
            let types = state == ChatState::Composing;
            assert_eq!(state.typing() == Typing::COMPOSING, types);
        }
        assert_eq!(Typing::COMPOSING.chat_state(), ChatState::Composing);
        assert_eq!(Typing::Idle.chat_state(), ChatState::Paused);
        assert_eq!(ChatState::from_name("bored"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_notice_or_refused(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            for name in [IS_COMPOSING, KEYBOARD_ACTIVITY] {
                let _ = read(&MediaType::parse(name).unwrap(), &body);
            }
        }
    }
}
