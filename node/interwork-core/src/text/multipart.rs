//! Multipart bodies (RFC 2046 section 5.1, RFC 2387).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;

use super::{Incoming, MAX_PARTS, TextFault, read_part};
use crate::media::MediaType;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Its type; text/plain if it names none.
    pub(super) media: MediaType,
    /// Its Content-ID without angle brackets.
    pub(super) id: Option<&'a str>,
    /// Its Content-Disposition.
    pub(super) disposition: Option<&'a str>,
    /// Its body, the transfer encoding undone.
    pub(super) body: Cow<'a, [u8]>,
}

impl Part<'_> {
    pub(super) fn read(&self, depth: usize) -> Result<Incoming, TextFault> {
        read_part(&self.media, &self.body, depth)
    }
}

/// The parts of a multipart body. Parts whose type or transfer encoding cannot be read are left out.
///
/// # Errors
/// [`TextFault::Malformed`] if there is no boundary or no part, [`TextFault::TooLarge`] beyond
/// [`MAX_PARTS`].
pub(super) fn parts<'a>(media: &MediaType, body: &'a [u8]) -> Result<Vec<Part<'a>>, TextFault> {
    let boundary = media
        .parameter("boundary")
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or(TextFault::Malformed)?;
    let delimiter = format!("--{boundary}");
    let delimiter = delimiter.as_bytes();
    let mut parts = Vec::new();
    let mut start = None;
    let mut count = 0;
    for at in memmem::find_iter(body, delimiter) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let after = &body[at + delimiter.len()..];
        // `--boundary-2` is the delimiter of something else.
        let is_last = after.starts_with(b"--");
        let line_end = memchr::memchr(b'\n', after).unwrap_or(after.len());
        if !is_last && !after[..line_end].trim_ascii().is_empty() {
            continue;
        }
        if let Some(start) = start.take() {
            count += 1;
            if count > MAX_PARTS {
                return Err(TextFault::TooLarge);
            }
            parts.extend(part(without_line_end(&body[start..at.max(start)])));
        }
        if is_last {
            break;
        }
        start = Some((at + delimiter.len() + line_end + 1).min(body.len()));
    }
    // A missing last delimiter: what is there counts.
    if let Some(start) = start {
        parts.extend(part(&body[start..]));
    }
    if parts.is_empty() {
        return Err(TextFault::Malformed);
    }
    Ok(parts)
}

/// The root of multipart/related: the part that `start` names, or the first.
pub(super) fn root<'a, 'b>(media: &MediaType, parts: &'b [Part<'a>]) -> Option<&'b Part<'a>> {
    let wanted = media.parameter("start").map(bare_id);
    wanted
        .and_then(|wanted| parts.iter().find(|part| part.id == Some(wanted)))
        .or_else(|| parts.first())
}

fn bare_id(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

/// One part from its headers and body.
fn part(raw: &[u8]) -> Option<Part<'_>> {
    let (headers, body) = split_headers(raw);
    let headers = std::str::from_utf8(headers).ok()?;
    let media = match header(headers, "content-type") {
        Some(value) => MediaType::parse(value)?,
        None => MediaType::plain_text(),
    };
    let encoding = header(headers, "content-transfer-encoding").unwrap_or("binary");
    let body = match encoding.to_ascii_lowercase().as_str() {
        "7bit" | "8bit" | "binary" => Cow::Borrowed(body),
        "base64" => {
            let letters: Vec<u8> = body
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            Cow::Owned(BASE64.decode(letters).ok()?)
        }
        "quoted-printable" => Cow::Owned(quoted_printable(body)),
        _ => return None,
    };
    Some(Part {
        media,
        id: header(headers, "content-id").map(bare_id),
        disposition: header(headers, "content-disposition"),
        body,
    })
}

/// Headers and what follows the empty line. A part may start with that line.
pub(super) fn split_headers(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut line_start = 0;
    while line_start < raw.len() {
        let line_len =
            memchr::memchr(b'\n', &raw[line_start..]).map_or(raw.len() - line_start, |at| at + 1);
        let line = &raw[line_start..line_start + line_len];
        if line.trim_ascii().is_empty() {
            return (&raw[..line_start], &raw[line_start + line_len..]);
        }
        line_start += line_len;
    }
    (raw, &[])
}

/// The value of a header. Folded lines are left out: nothing that matters here needs them.
pub(super) fn header<'a>(headers: &'a str, wanted: &str) -> Option<&'a str> {
    headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case(wanted)
            .then(|| value.trim())
    })
}

/// The line end before a delimiter belongs to the delimiter.
fn without_line_end(body: &[u8]) -> &[u8] {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    body.strip_suffix(b"\r").unwrap_or(body)
}

/// RFC 2045 section 6.7; malformed escapes stay as they are.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        if let (Some(high), Some(low)) = (digit(0), digit(1)) {
            out.push((high << 4 | low) as u8);
            rest = &after[2..];
        } else if let Some(next) = after.strip_prefix(b"\r\n").or(after.strip_prefix(b"\n")) {
            rest = next;
        } else {
            out.push(byte);
        }
    }
    out
}
