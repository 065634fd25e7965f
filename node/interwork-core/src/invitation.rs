//! What an INVITE invites to, and our offers and answers for instant messages.
//!
//! We take sessions for instant messages between two people. Conferences, further parties, file
//! transfers and calls are refused, each with the status that its client explains best.

use crate::media::MediaType;
use crate::text::parts;

mod sdp;

pub use sdp::{MAX_MEDIA, MessageMedia, Sdp, SdpFault, offer};

/// Largest body of an invitation that is looked at, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The option tag of sessions with more than two parties. COMPAT Microsoft.
pub const MULTIPARTY: &str = "com.microsoft.rtc-multiparty";

/// What of an INVITE matters here. Header values as they came; `None` where a header is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Invite<'a> {
    /// Content-Type.
    pub content_type: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// All option tags of Require.
    pub requires: &'a [&'a str],
    /// EndPoints: the parties of the session. COMPAT Microsoft.
    pub end_points: Option<&'a str>,
    /// TriggeredInvite: the invitation to move a session into a conference. COMPAT Microsoft.
    pub triggered: Option<&'a str>,
}

/// What an INVITE invites to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invitation {
    /// Instant messages between two. [`Sdp::answer`] accepts.
    Messages(Sdp),
    /// A session that others may join: 420 with `Unsupported:` [`MULTIPARTY`].
    Multiparty,
    /// A conference, or more than two parties: 488.
    Conference,
    /// A file: 415.
    FileTransfer,
    /// Sound, pictures, desktops, or nothing that is named: 488.
    Other,
    /// A body that cannot be read: 400.
    Malformed,
}

impl Invitation {
    /// The status to refuse with; none for what we take.
    #[must_use]
    pub const fn refusal(&self) -> Option<u16> {
        match self {
            Self::Messages(_) => None,
            Self::Multiparty => Some(420),
            Self::Conference | Self::Other => Some(488),
            Self::FileTransfer => Some(415),
            Self::Malformed => Some(400),
        }
    }
}

/// Says what an INVITE invites to.
#[must_use]
pub fn classify(invite: &Invite<'_>) -> Invitation {
    if invite
        .requires
        .iter()
        .any(|tag| tag.trim().eq_ignore_ascii_case(MULTIPARTY))
    {
        return Invitation::Multiparty;
    }
    let triggered = invite
        .triggered
        .is_some_and(|value| !value.trim().eq_ignore_ascii_case("false"));
    if triggered || invite.end_points.is_some_and(|value| count(value) > 2) {
        return Invitation::Conference;
    }
    if invite.body.len() > MAX_BODY {
        return Invitation::Malformed;
    }
    let Some(content_type) = invite.content_type else {
        // An INVITE without an offer expects one of ours, for a session that it does not name.
        return Invitation::Other;
    };
    match MediaType::parse(content_type) {
        Some(media) => of_body(&media, invite.body),
        None => Invitation::Malformed,
    }
}

/// The parties in an EndPoints header, repetitions left out.
fn count(end_points: &str) -> usize {
    let mut seen: Vec<String> = Vec::new();
    for party in end_points.split(',').take(16) {
        let uri = party
            .rsplit_once('<')
            .map_or(party, |(_, uri)| uri)
            .split(['>', ';'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !uri.is_empty() && !seen.contains(&uri) {
            seen.push(uri);
        }
    }
    seen.len()
}

fn of_body(media: &MediaType, body: &[u8]) -> Invitation {
    match media.name() {
        "application/sdp" => of_sdp(body),
        "application/ms-conf-invite+xml" => Invitation::Conference,
        "application/ms-filetransfer+xml" | "text/x-msmsgsinvite" => Invitation::FileTransfer,
        name if name.starts_with("multipart/") => of_parts(media, body),
        _ => Invitation::Other,
    }
}

/// COMPAT Microsoft: the offer beside a fallback, or beside what it is for. A part that says conference
/// or file speaks for the whole; else the first part for messages does.
fn of_parts(media: &MediaType, body: &[u8]) -> Invitation {
    let Ok(parts) = parts(media, body) else {
        return Invitation::Malformed;
    };
    let mut best = Invitation::Other;
    for part in &parts {
        // A part with parts of its own is more than any client sends.
        let found = if part.media.name().starts_with("multipart/") {
            Invitation::Other
        } else {
            of_body(&part.media, &part.body)
        };
        match found {
            Invitation::Conference | Invitation::FileTransfer => return found,
            Invitation::Messages(_) if best == Invitation::Other => best = found,
            _ => {}
        }
    }
    best
}

fn of_sdp(body: &[u8]) -> Invitation {
    match Sdp::parse(body) {
        Err(_) => Invitation::Malformed,
        Ok(sdp) if sdp.is_file_transfer() => Invitation::FileTransfer,
        Ok(sdp) if sdp.message_media().is_some() => Invitation::Messages(sdp),
        Ok(_) => Invitation::Other,
    }
}

#[cfg(test)]
mod tests;
