//! When to subscribe again: two tables.

use std::time::Duration;

use crate::status::Status;

/// 480 says that the presentity is not there, which may last; it is asked for again after this.
const UNAVAILABLE: Duration = Duration::from_secs(1800);

/// The longest retry-after that is obeyed.
const MAX_RETRY_AFTER: u32 = 86_400;

/// Whether and when a subscription is tried again in a new dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    AtOnce,
    /// After this pause, or a growing one.
    Later(Option<Duration>),
    Never,
}

/// After a final response to SUBSCRIBE other than 2xx and 423. What only time can change is tried
/// again; what the peer has decided is not.
pub(super) fn after_refusal(status: Status) -> Again {
    match status.code() {
        480 => Again::Later(Some(UNAVAILABLE)),
        408 | 413 | 429 | 481 | 486 | 487 | 491 | 494 => Again::Later(None),
        501 | 505 | 513 => Again::Never,
        500..=600 => Again::Later(None),
        _ => Again::Never,
    }
}

/// After NOTIFY `terminated` (RFC 6665 section 4.1.3).
pub(super) fn after_notify(reason: &str, retry_after: Option<u32>) -> Again {
    let pause = retry_after.map(|s| Duration::from_secs(s.min(MAX_RETRY_AFTER).into()));
    let is = |word: &str| reason.eq_ignore_ascii_case(word);
    if is("deactivated") || is("timeout") {
        Again::AtOnce
    } else if is("rejected") || is("noresource") || is("invariant") {
        Again::Never
    } else {
        // probation, giveup, words of extensions, and none.
        Again::Later(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_obeyed_as_rfc_6665_says() {
        let minute = Some(Duration::from_secs(60));
        for (reason, retry_after, again) in [
            ("deactivated", Some(60), Again::AtOnce),
            ("timeout", Some(60), Again::AtOnce),
            ("probation", Some(60), Again::Later(minute)),
            ("probation", None, Again::Later(None)),
            ("giveup", Some(60), Again::Later(minute)),
            ("rejected", Some(60), Again::Never),
            ("noresource", Some(60), Again::Never),
            ("invariant", None, Again::Never),
            ("something-new", Some(60), Again::Later(minute)),
            ("", None, Again::Later(None)),
        ] {
            assert_eq!(after_notify(reason, retry_after), again, "{reason}");
        }
    }

    #[test]
    fn what_the_peer_has_decided_is_not_asked_again() {
        for code in [302, 400, 401, 403, 404, 406, 489, 501, 603, 604, 606] {
            let status = Status::new(code).unwrap();
            assert_eq!(after_refusal(status), Again::Never, "{code}");
        }
        for code in [408, 480, 500, 502, 503, 504, 600] {
            let status = Status::new(code).unwrap();
            assert_ne!(after_refusal(status), Again::Never, "{code}");
        }
    }
}
