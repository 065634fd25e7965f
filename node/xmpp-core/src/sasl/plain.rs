//! PLAIN (RFC 4616).

use std::fmt;

use super::SaslCondition;

/// The message of a PLAIN client: `[authzid] NUL authcid NUL passwd`.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainCredentials {
    /// Whom the client wants to act as; `None` when it left that out.
    pub authzid: Option<String>,
    /// The user name (the localpart of the account).
    pub username: String,
    /// The password, as sent.
    pub password: String,
}

impl PlainCredentials {
    /// Reads the client's only message.
    ///
    /// # Errors
    /// [`SaslCondition::MalformedRequest`] when it is not three parts of UTF-8 of which the last
    /// two hold something and at most 255 and 1023 bytes.
    pub fn parse(message: &[u8]) -> Result<Self, SaslCondition> {
        let text = std::str::from_utf8(message).map_err(|_| SaslCondition::MalformedRequest)?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(username), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslCondition::MalformedRequest);
        };
        let fits = !username.is_empty()
            && username.len() <= 255
            && !password.is_empty()
            && password.len() <= 1023;
        if !fits {
            return Err(SaslCondition::MalformedRequest);
        }
        Ok(Self {
            authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }
}

impl fmt::Debug for PlainCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainCredentials")
            .field("authzid", &self.authzid)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_4616() {
        let tim = PlainCredentials::parse(b"\0tim\0tanstaaftanstaaf").expect("parses");
        assert_eq!(tim.authzid, None);
        assert_eq!(
            (&*tim.username, &*tim.password),
            ("tim", "tanstaaftanstaaf")
        );
        let kurt = PlainCredentials::parse(b"Ursel\0Kurt\0xipj3plmq").expect("parses");
        assert_eq!(kurt.authzid.as_deref(), Some("Ursel"));
    }

    #[test]
    fn refuses_what_does_not_follow_the_grammar() {
        for message in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"\0tim",
            b"\0tim\0",
            b"\0\0password",
            b"\0tim\0pass\0word",
            b"\0tim\0\xff\xfe",
            b"tim",
        ] {
            assert_eq!(
                PlainCredentials::parse(message),
                Err(SaslCondition::MalformedRequest),
                "{message:?}"
            );
        }
        let long = format!("\0{}\0x", "u".repeat(256));
        assert!(PlainCredentials::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn debug_hides_the_password() {
        let tim = PlainCredentials::parse(b"\0tim\0tanstaaf").expect("parses");
        assert!(!format!("{tim:?}").contains("tanstaaf"));
    }
}
