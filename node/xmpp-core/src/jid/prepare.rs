//! Preparation of the three parts of an address: a fast check for text already in normal form, and
//! the full profiles for the rest.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};

use super::{JidError, MAX_PART_LEN};

/// Passes of a profile until it must have settled; more than two are not known to be needed.
const MAX_PASSES: usize = 4;

/// ASCII allowed in a localpart that needs no case folding (RFC 7622 section 3.3.1).
pub(super) fn is_plain_local(local: &str) -> bool {
    (1..=MAX_PART_LEN).contains(&local.len())
        && local.bytes().all(|b| {
            matches!(b, b'!'..=b'~')
                && !matches!(
                    b,
                    b'A'..=b'Z' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@'
                )
        })
}

/// A lower-case host name of ASCII labels, none of them an A-label (those become U-labels).
pub(super) fn is_plain_domain(domain: &str) -> bool {
    (1..=253).contains(&domain.len())
        && domain.split('.').all(|label| {
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes
                    .iter()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
                && bytes[0] != b'-'
                && bytes[bytes.len() - 1] != b'-'
                && bytes.get(2..4) != Some(b"--")
        })
}

/// Printable ASCII, which resourceprep and OpaqueString leave alone.
pub(super) fn is_plain_resource(resource: &str) -> bool {
    (1..=MAX_PART_LEN).contains(&resource.len())
        && resource.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// Normalises a localpart.
pub(super) fn local(local: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_local(local) {
        return Ok(Cow::Borrowed(local));
    }
    // Three times the bound: folding may shorten, and the bound holds for the result.
    if local.len() > 3 * MAX_PART_LEN {
        return Err(JidError::Localpart);
    }
    let nodeprep = |text: &str| Some(jid::NodePart::new(text).ok()?.into_owned().into_inner());
    let prepared = settled(local, nodeprep).ok_or(JidError::Localpart)?;
    Ok(Cow::Owned(prepared))
}

/// What `prepare` makes of `text` in the end. The tables of Unicode 3.2 give no case to some later
/// characters (U+03F9) whose compatibility forms have one, so what one pass gives another may change;
/// then two forms of one address would be two addresses.
fn settled(text: &str, prepare: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut prepared = prepare(text)?;
    for _ in 0..MAX_PASSES {
        let again = prepare(&prepared)?;
        if again == prepared {
            return Some(prepared);
        }
        prepared = again;
    }
    None
}

/// Normalises a domain: lower case, U-labels, no dot at the end.
pub(super) fn domain(domain: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_domain(domain) {
        return Ok(Cow::Borrowed(domain));
    }
    if domain.len() > MAX_PART_LEN {
        return Err(JidError::Domainpart);
    }
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let prepared = jid::DomainPart::new(domain).map_err(|_| JidError::Domainpart)?;
    let prepared = prepared.into_owned().into_inner();
    if prepared.starts_with('[') {
        // An IPv6 literal is lower case in normal form and knows no labels.
        return Ok(Cow::Owned(prepared.to_ascii_lowercase()));
    }
    let (unicode, outcome) =
        Uts46::new().to_unicode(prepared.as_bytes(), AsciiDenyList::URL, Hyphens::Check);
    outcome.map_err(|_| JidError::Domainpart)?;
    if unicode.is_empty() || unicode.len() > MAX_PART_LEN {
        return Err(JidError::Domainpart);
    }
    Ok(Cow::Owned(unicode.into_owned()))
}

/// Normalises a resourcepart.
pub(super) fn resource(resource: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_resource(resource) {
        return Ok(Cow::Borrowed(resource));
    }
    if resource.is_empty() || resource.len() > MAX_PART_LEN {
        return Err(JidError::Resourcepart);
    }
    let resourceprep =
        |text: &str| Some(jid::ResourcePart::new(text).ok()?.into_owned().into_inner());
    if let Some(prepared) = settled(resource, resourceprep) {
        return Ok(Cow::Owned(prepared));
    }
    // Resourceprep knows Unicode 3.2. RFC 7622 allows what came later, emoji above all; such text is
    // taken as it is, but for what OpaqueString forbids too.
    let forbidden = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}'
                    | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..
            )
    };
    if resource.chars().any(forbidden) {
        return Err(JidError::Resourcepart);
    }
    Ok(Cow::Borrowed(resource))
}
