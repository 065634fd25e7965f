//! URIs of users.

use std::borrow::Cow;
use std::fmt;

use entente_xmpp_core::jid::{BareJid, FullJid, Jid, JidError, domain_to_ascii};

use super::percent::{self, Place};
use super::{AddressError, MAX_URI_LEN, escape_localpart, unescape_localpart};

/// A user's address without a device, as From, To and documents have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressOfRecord {
    /// Percent-encoded; `None` for a domain alone.
    user: Option<String>,
    /// A-labels, lower case.
    host: String,
}

impl AddressOfRecord {
    /// The URI of an account.
    ///
    /// # Errors
    /// [`AddressError::Escape`] for a localpart that is no escaped text, [`AddressError::Jid`] for a
    /// domain without a form in ASCII.
    pub fn of(jid: &BareJid) -> Result<Self, AddressError> {
        let host = match jid.domain() {
            literal if literal.starts_with('[') => Cow::Borrowed(literal),
            domain => domain_to_ascii(domain)?,
        };
        let user = jid.node().map(unescape_localpart).transpose()?;
        Ok(Self {
            user: user.map(|user| percent::encode(&user, Place::User)),
            host: host.into_owned(),
        })
    }

    /// The percent-encoded user part.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host, in A-labels.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `user@host` without a scheme. COMPAT AOL: its documents name people so.
    #[must_use]
    pub fn without_scheme(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }
}

/// `sip:user@host`
impl fmt::Display for AddressOfRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sip:")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)
    }
}

/// A user's device: an address of record and the `gr` parameter (RFC 5627, RFC 7247 section 5). For
/// Contact and Request-URI, never for From and To.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContactUri {
    user: AddressOfRecord,
    /// Percent-encoded.
    instance: String,
}

impl ContactUri {
    /// The URI of one session of an account.
    ///
    /// # Errors
    /// As [`AddressOfRecord::of`].
    pub fn of(jid: &FullJid) -> Result<Self, AddressError> {
        Ok(Self {
            user: AddressOfRecord::of(&jid.to_bare())?,
            instance: percent::encode(jid.resource(), Place::Parameter),
        })
    }

    /// Joins an address that rules may have changed with a resource.
    pub(super) fn join(user: AddressOfRecord, resource: &str) -> Self {
        Self {
            user,
            instance: percent::encode(resource, Place::Parameter),
        }
    }

    /// The address without the device.
    #[must_use]
    pub fn address_of_record(&self) -> &AddressOfRecord {
        &self.user
    }

    /// The value of the `gr` parameter, percent-encoded.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// `sip:user@host;gr=instance`
impl fmt::Display for ContactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};gr={}", self.user, self.instance)
    }
}

/// The JID of a URI; its `gr` parameter becomes the resource. Takes `sip:`, `sips:`, `pres:`, `im:`
/// and no scheme at all, with or without angle brackets; password, port, other parameters and headers
/// are left out.
///
/// # Errors
/// Says what is wrong with the address.
pub fn jid_of_uri(text: &str) -> Result<Jid, AddressError> {
    let uri = Uri::read(text)?;
    let resource = uri.instance.map(percent::decode).transpose()?;
    uri.jid(resource.as_deref())
}

/// The JID of a URI without regard to a device, as for From, To and documents.
///
/// # Errors
/// Says what is wrong with the address.
pub fn bare_jid_of_uri(text: &str) -> Result<BareJid, AddressError> {
    Ok(Uri::read(text)?.jid(None)?.into_bare())
}

/// The parts of a URI that make an address, still percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Uri<'a> {
    user: Option<&'a str>,
    host: &'a str,
    instance: Option<&'a str>,
}

impl<'a> Uri<'a> {
    fn read(text: &'a str) -> Result<Self, AddressError> {
        if text.len() > MAX_URI_LEN {
            return Err(AddressError::TooLong);
        }
        let text = text.trim();
        let text = match text.strip_prefix('<') {
            Some(inside) => inside.strip_suffix('>').ok_or(AddressError::Syntax)?,
            None => text,
        };
        let text = without_scheme(text)?;
        // In the user part `@` is always encoded, so the first one ends it.
        let (user, rest) = match text.split_once('@') {
            Some((userinfo, rest)) => {
                let user = userinfo.split(':').next().unwrap_or_default();
                if user.is_empty() {
                    return Err(AddressError::Syntax);
                }
                (Some(user), rest)
            }
            None => (None, text),
        };
        let host_len = match rest.strip_prefix('[') {
            Some(literal) => literal.find(']').ok_or(AddressError::Syntax)? + 2,
            None => rest.find([':', ';', '?']).unwrap_or(rest.len()),
        };
        let (host, rest) = rest.split_at(host_len);
        if host.is_empty() {
            return Err(AddressError::Syntax);
        }
        Ok(Self {
            user,
            host,
            instance: instance(rest)?,
        })
    }

    fn jid(self, resource: Option<&str>) -> Result<Jid, AddressError> {
        let user = self.user.map(percent::decode).transpose()?;
        let local = user.as_deref().map(escape_localpart).transpose()?;
        // `prepare` would cut what it takes for a resource or a localpart; neither is a host's part.
        if self.host.contains(['/', '@', '<', '>', '"', '\\', '%']) {
            return Err(JidError::Domainpart.into());
        }
        Ok(Jid::from_parts(local.as_deref(), self.host, resource)?)
    }
}

/// Cuts a scheme that names users. What stands before a colon is a scheme, unless `@` comes first.
fn without_scheme(text: &str) -> Result<&str, AddressError> {
    let Some(colon) = text.find([':', '@', '[', ';', '?']) else {
        return Ok(text);
    };
    if text.as_bytes()[colon] != b':' {
        return Ok(text);
    }
    let scheme = &text[..colon];
    ["sip", "sips", "pres", "im"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then(|| &text[colon + 1..])
        .ok_or(AddressError::Scheme)
}

/// The value of the `gr` parameter in what follows the host: `[:port][;parameters][?headers]`.
fn instance(after_host: &str) -> Result<Option<&str>, AddressError> {
    let parameters = after_host.split('?').next().unwrap_or_default();
    let mut parts = parameters.split(';');
    let port = parts.next().unwrap_or_default();
    let is_port = |digits: &str| digits.parse::<u16>().is_ok() && !digits.starts_with('+');
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err(AddressError::Syntax);
    }
    // A bare `gr` marks a temporary GRUU (RFC 5627 section 3.1.2): it names no resource.
    Ok(parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("gr"))
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uris_of_all_kinds_name_people() {
        for (uri, jid) in [
            ("sip:juliet@example.com", "juliet@example.com"),
            ("SIPS:Juliet@Example.COM", "juliet@example.com"),
            ("pres:juliet@example.com", "juliet@example.com"),
            ("im:juliet@example.com?x=y", "juliet@example.com"),
            ("juliet@aol.com", "juliet@aol.com"),
            (" <sip:juliet@example.com> ", "juliet@example.com"),
            ("sip:juliet:secret@example.com:5061", "juliet@example.com"),
            (
                "sip:juliet@example.com:5061;transport=tls;gr=balcony?Subject=x",
                "juliet@example.com/balcony",
            ),
            (
                "sip:juliet@example.com;GR=a%20%2f%C3%A9",
                "juliet@example.com/a /é",
            ),
            ("sip:juliet@example.com;gr", "juliet@example.com"),
            (
                "sip:juliet@example.com;opaque=user:epid:FtUHhVuejVmDLF6n1yidSwAA;gruu",
                "juliet@example.com",
            ),
            ("sip:d'artagnan@example.com", r"d\27artagnan@example.com"),
            ("sip:at&t%20guy@example.com", r"at\26t\20guy@example.com"),
            (
                "sip:a%40b.example@example.com",
                r"a\40b.example@example.com",
            ),
            (
                "sip:+15551234;ext=5@example.com",
                "+15551234;ext=5@example.com",
            ),
            ("sip:example.com;lr", "example.com"),
            ("sip:j@[2001:DB8::1]:5060", "j@[2001:db8::1]"),
            ("sip:j@xn--bcher-kva.example", "j@bücher.example"),
        ] {
            assert_eq!(jid_of_uri(uri).unwrap().as_str(), jid, "{uri}");
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for (uri, error) in [
            ("tel:+15551234", AddressError::Scheme),
            ("mailto:a@example.com", AddressError::Scheme),
            ("", AddressError::Syntax),
            ("sip:", AddressError::Syntax),
            ("sip:a@", AddressError::Syntax),
            ("sip:@example.com", AddressError::Syntax),
            ("sip:a@example.com:port", AddressError::Syntax),
            ("<sip:a@example.com", AddressError::Syntax),
            ("sip:a@[::1", AddressError::Syntax),
            ("sip:a%4@example.com", AddressError::Percent),
            ("sip:%20a@example.com", AddressError::Escape),
            (
                "sip:a@b@example.com",
                AddressError::Jid(JidError::Domainpart),
            ),
            ("sip:a@b/c", AddressError::Jid(JidError::Domainpart)),
            ("sip:a%00@b.example", AddressError::Jid(JidError::Localpart)),
            (
                "sip:a@b.example;gr=%00",
                AddressError::Jid(JidError::Resourcepart),
            ),
        ] {
            assert_eq!(jid_of_uri(uri), Err(error), "{uri}");
        }
        let long = format!("sip:{}@example.com", "a".repeat(MAX_URI_LEN));
        assert_eq!(jid_of_uri(&long), Err(AddressError::TooLong));
    }

    #[test]
    fn jids_become_uris() {
        for (jid, uri) in [
            ("juliet@example.com", "sip:juliet@example.com"),
            (r"at\26t\20guy@example.com", "sip:at&t%20guy@example.com"),
            (r"a\40b@example.com", "sip:a%40b@example.com"),
            ("é@bücher.example", "sip:%C3%A9@xn--bcher-kva.example"),
            ("example.com", "sip:example.com"),
        ] {
            let aor = AddressOfRecord::of(&BareJid::new(jid).unwrap()).unwrap();
            assert_eq!(aor.to_string(), uri);
        }
        let full = FullJid::new("juliet@example.com/the balcony; left").unwrap();
        let contact = ContactUri::of(&full).unwrap();
        assert_eq!(
            contact.to_string(),
            "sip:juliet@example.com;gr=the%20balcony%3B%20left"
        );
        assert_eq!(
            contact.address_of_record().without_scheme(),
            "juliet@example.com"
        );
    }

    proptest! {
        /// Whatever user part there is: its JID gives the URI that gives the same JID.
        #[test]
        fn a_uri_and_its_jid_are_one_to_one(
            user in r#"[a-z0-9 "&'/:<>@\\é=+$,;?%.-]{1,24}"#,
            resource in "[ -~é]{1,24}",
        ) {
            let uri = format!(
                "sip:{}@example.com;gr={}",
                percent::encode(&user, Place::User),
                percent::encode(&resource, Place::Parameter)
            );
            let Ok(jid) = jid_of_uri(&uri) else {
                prop_assert!(user.starts_with(' ') || user.ends_with(' '));
                return Ok(());
            };
            let full = FullJid::try_from(jid.clone()).unwrap();
            let contact = ContactUri::of(&full).unwrap();
            prop_assert_eq!(contact.to_string(), uri);
            prop_assert_eq!(jid_of_uri(&contact.to_string()).unwrap(), jid);
        }

        /// Whatever JID there is: its URI, if it has one, gives it back.
        #[test]
        fn a_jid_and_its_uri_are_one_to_one(local in r"[a-f0-9!#$%()*+,.;=?\\^_`{|}~é-]{1,24}") {
            let jid = BareJid::from_parts(Some(&local), "example.com").unwrap();
            if let Ok(aor) = AddressOfRecord::of(&jid) {
                prop_assert_eq!(bare_jid_of_uri(&aor.to_string()).unwrap(), jid.clone());
                prop_assert_eq!(bare_jid_of_uri(&aor.without_scheme()).unwrap(), jid);
            } else {
                prop_assert!(local.contains('\\'));
            }
        }

        #[test]
        fn any_text_is_an_address_or_refused(text in r"(sip:|pres:|<)?\PC{0,40}") {
            let _ = jid_of_uri(&text);
        }
    }
}
