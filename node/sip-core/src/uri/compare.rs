//! Comparing URIs (RFC 3261 section 19.1.4).

use std::borrow::Cow;

use crate::grammar::is_unreserved;
use crate::uri::{Uri, percent_decode};

/// Parameters that count even where only one of the two has them.
const ALWAYS_COUNT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

pub(super) fn equivalent(one: &Uri, other: &Uri) -> bool {
    if !one.scheme_str().eq_ignore_ascii_case(other.scheme_str()) {
        return false;
    }
    let Some((one_host, other_host)) = one.host().zip(other.host()) else {
        return match (one.user(), other.user()) {
            // tel: visual separators do not count (RFC 3966 section 4).
            (Some(one_number), Some(other_number)) => {
                digits(one_number).eq(digits(other_number)) && params(one, other)
            }
            _ => one == other,
        };
    };
    let same_host = match (one_host, other_host) {
        (super::Host::Name(one), super::Host::Name(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    };
    same_host
        && one.port() == other.port()
        && part(one.user()) == part(other.user())
        && part(one.password()) == part(other.password())
        && params(one, other)
        && headers(one, other)
}

fn digits(number: &str) -> impl Iterator<Item = u8> {
    number
        .bytes()
        .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
        .map(|byte| byte.to_ascii_lowercase())
}

/// With the escapes resolved that mean the same as the character; a reserved character and its escape
/// are different.
fn part(text: Option<&str>) -> Option<Cow<'_, [u8]>> {
    let text = text?;
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.extend_from_slice(&rest.as_bytes()[..at]);
        let end = (at + 3).min(rest.len());
        match percent_decode(&rest[at..end]).as_ref() {
            [byte] if is_unreserved(*byte) => plain.push(*byte),
            _ => plain.extend(rest[at..end].bytes().map(|byte| byte.to_ascii_uppercase())),
        }
        rest = &rest[end..];
    }
    plain.extend_from_slice(rest.as_bytes());
    Some(Cow::Owned(plain))
}

fn params(one: &Uri, other: &Uri) -> bool {
    let same = |name: &str| match (one.params().find(name), other.params().find(name)) {
        (Some(one), Some(other)) => match (part(one.value), part(other.value)) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(&other),
            (one, other) => one == other,
        },
        (None, None) => true,
        _ => !ALWAYS_COUNT
            .iter()
            .any(|counting| name.eq_ignore_ascii_case(counting)),
    };
    one.params()
        .iter()
        .chain(other.params().iter())
        .all(|param| same(param.name))
}

/// Headers count always and in any order.
fn headers(one: &Uri, other: &Uri) -> bool {
    match (one.headers(), other.headers()) {
        (None, None) => true,
        (Some(one), Some(other)) => sorted(one) == sorted(other),
        _ => false,
    }
}

fn sorted(headers: &str) -> Vec<(String, Vec<u8>)> {
    let mut sorted: Vec<_> = headers
        .split('&')
        .filter_map(|header| header.split_once('='))
        .map(|(name, value)| {
            (
                name.to_ascii_lowercase(),
                percent_decode(value).into_owned(),
            )
        })
        .collect();
    sorted.sort();
    sorted
}
