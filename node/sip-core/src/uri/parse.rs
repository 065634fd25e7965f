//! Reading URIs.

use crate::grammar;
use crate::params::Params;
use crate::text::{Span, Text};
use crate::uri::host::{HostKind, split_host_port};
use crate::uri::{MAX_URI_BYTES, Scheme, Uri, UriFault};

pub(super) fn parse(text: Text) -> Result<Uri, UriFault> {
    let whole = text.as_str();
    if whole.len() > MAX_URI_BYTES {
        return Err(UriFault::TooLong);
    }
    // Also what makes all later cuts fall between characters.
    if !whole
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'))
    {
        return Err(UriFault::Character);
    }
    let colon = memchr::memchr(b':', whole.as_bytes()).ok_or(UriFault::Scheme)?;
    let scheme = scheme(&whole[..colon])?;
    let parts = match scheme {
        Scheme::Sip | Scheme::Sips => sip(whole, colon + 1)?,
        Scheme::Pres | Scheme::Im => mailbox(whole, colon + 1)?,
        Scheme::Tel => telephone(whole, colon + 1)?,
        Scheme::Other if colon + 1 == whole.len() => return Err(UriFault::Scheme),
        Scheme::Other => Parts::default(),
    };
    let span = |(start, end): (usize, usize)| Span::new(start, end).ok_or(UriFault::TooLong);
    Ok(Uri {
        scheme,
        host_kind: parts.host_kind.unwrap_or(HostKind::None),
        port: parts.port,
        user: span(parts.user)?,
        password: parts.password.map(span).transpose()?,
        host: span(parts.host)?,
        params: span(parts.params)?,
        headers: span(parts.headers)?,
        text,
    })
}

fn scheme(text: &str) -> Result<Scheme, UriFault> {
    const KNOWN: [(&str, Scheme); 5] = [
        ("sip", Scheme::Sip),
        ("sips", Scheme::Sips),
        ("tel", Scheme::Tel),
        ("pres", Scheme::Pres),
        ("im", Scheme::Im),
    ];
    for (name, scheme) in KNOWN {
        if text.eq_ignore_ascii_case(name) {
            return Ok(scheme);
        }
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    match text.as_bytes() {
        [first, rest @ ..] if first.is_ascii_alphabetic() && rest.iter().all(|b| plain(*b)) => {
            Ok(Scheme::Other)
        }
        _ => Err(UriFault::Scheme),
    }
}

/// Positions in the whole text.
#[derive(Default)]
struct Parts {
    user: (usize, usize),
    password: Option<(usize, usize)>,
    host: (usize, usize),
    host_kind: Option<HostKind>,
    port: Option<u16>,
    params: (usize, usize),
    headers: (usize, usize),
}

/// `[user[:password]@]host[:port][;params][?headers]` from `start` on.
fn sip(whole: &str, start: usize) -> Result<Parts, UriFault> {
    let mut parts = Parts::default();
    // Neither host nor parameters nor headers can hold an `@`, but a user can hold `;` and `?`.
    let host_start = match memchr::memchr(b'@', &whole.as_bytes()[start..]) {
        Some(at) => {
            userinfo(whole, start, start + at, &mut parts)?;
            start + at + 1
        }
        None => start,
    };
    let bytes = whole.as_bytes();
    let host_end =
        memchr::memchr2(b';', b'?', &bytes[host_start..]).map_or(whole.len(), |at| host_start + at);
    host_and_port(whole, host_start, host_end, &mut parts)?;
    let params_end =
        memchr::memchr(b'?', &bytes[host_end..]).map_or(whole.len(), |at| host_end + at);
    Params::uri(&whole[host_end..params_end]).ok_or(UriFault::Params)?;
    parts.params = (host_end, params_end);
    if params_end < whole.len() {
        headers(&whole[params_end + 1..])?;
        parts.headers = (params_end + 1, whole.len());
    }
    Ok(parts)
}

fn userinfo(whole: &str, start: usize, end: usize, parts: &mut Parts) -> Result<(), UriFault> {
    let user_end = match memchr::memchr(b':', &whole.as_bytes()[start..end]) {
        Some(at) => {
            parts.password = Some((start + at + 1, end));
            start + at
        }
        None => end,
    };
    let password = parts.password.map_or("", |(from, to)| &whole[from..to]);
    if !grammar::is_user(&whole[start..user_end]) || !grammar::is_password(password) {
        return Err(UriFault::User);
    }
    parts.user = (start, user_end);
    Ok(())
}

fn host_and_port(whole: &str, start: usize, end: usize, parts: &mut Parts) -> Result<(), UriFault> {
    let text = &whole[start..end];
    let (host, port) = split_host_port(text).ok_or(match text.contains(':') {
        true => UriFault::Port,
        false => UriFault::Host,
    })?;
    parts.host_kind = Some(HostKind::of(host).ok_or(UriFault::Host)?);
    parts.host = (start, start + host.len());
    parts.port = port;
    Ok(())
}

fn headers(text: &str) -> Result<(), UriFault> {
    for header in text.split('&') {
        let (name, value) = header.split_once('=').ok_or(UriFault::Headers)?;
        if name.is_empty() || !grammar::is_uri_header(name) || !grammar::is_uri_header(value) {
            return Err(UriFault::Headers);
        }
    }
    Ok(())
}

/// `user@domain[?headers]`: the addresses of `pres:` and `im:`.
fn mailbox(whole: &str, start: usize) -> Result<Parts, UriFault> {
    let parts = sip(whole, start)?;
    match parts.user {
        (from, to) if from < to => Ok(parts),
        _ => Err(UriFault::User),
    }
}

/// `+1-201-555-0123;params` (RFC 3966 section 3).
fn telephone(whole: &str, start: usize) -> Result<Parts, UriFault> {
    let end = memchr::memchr(b';', &whole.as_bytes()[start..]).map_or(whole.len(), |at| start + at);
    let digits = whole[start..end]
        .strip_prefix('+')
        .unwrap_or(&whole[start..end]);
    let is_digit = |byte: u8| {
        byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#' | b'-' | b'.' | b'(' | b')')
    };
    if digits.is_empty() || !digits.bytes().all(is_digit) {
        return Err(UriFault::User);
    }
    Params::uri(&whole[end..]).ok_or(UriFault::Params)?;
    Ok(Parts {
        user: (start, end),
        params: (end, whole.len()),
        ..Parts::default()
    })
}
