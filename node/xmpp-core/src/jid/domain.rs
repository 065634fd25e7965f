//! Domains where the outside wants A-labels: DNS, SNI and certificates.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{JidError, prepare};

/// The domain with A-labels, lower case, no dot at the end: for DNS questions, SNI and the check of
/// certificates. Streams keep the U-labels. Nothing is copied when the domain is plain ASCII.
///
/// # Errors
/// [`JidError::Domainpart`] if it is not a domain.
pub fn domain_to_ascii(domain: &str) -> Result<Cow<'_, str>, JidError> {
    if prepare::is_plain_domain(domain) {
        return Ok(Cow::Borrowed(domain));
    }
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::URL,
            Hyphens::Check,
            DnsLength::Verify,
        )
        .map_err(|_| JidError::Domainpart)
}

/// Whether two names are the same domain, whichever of them is in A-labels, upper case or ends with
/// a dot.
#[must_use]
pub fn same_domain(a: &str, b: &str) -> bool {
    a == b
        || match (domain_to_ascii(a), domain_to_ascii(b)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
}
