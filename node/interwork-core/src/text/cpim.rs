//! Messages in the common format (RFC 3862).

use super::multipart::{header, split_headers};
use super::{Incoming, TextFault, read_part};
use crate::media::MediaType;
use crate::time::UtcTime;

/// Reads the headers of the message, those of its content, and the content.
pub(super) fn read(body: &[u8], depth: usize) -> Result<Incoming, TextFault> {
    let (headers, content) = split_headers(body);
    let (content_headers, content) = split_headers(content);
    let headers = std::str::from_utf8(headers).map_err(|_| TextFault::Malformed)?;
    let content_headers = std::str::from_utf8(content_headers).map_err(|_| TextFault::Malformed)?;
    let media = match header(content_headers, "content-type") {
        Some(value) => MediaType::parse(value).ok_or(TextFault::Unsupported)?,
        None if content.is_empty() => return Err(TextFault::Malformed),
        None => MediaType::plain_text(),
    };
    let mut read = read_part(&media, content, depth)?;
    let subject = header(headers, "subject").filter(|subject| !subject.is_empty());
    read.subject = subject.map(str::to_owned).or(read.subject);
    let sent = header(headers, "datetime").and_then(UtcTime::from_datetime);
    read.sent = sent.or(read.sent);
    Ok(read)
}
