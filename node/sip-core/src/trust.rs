//! Headers that claim something about the sender which only a trusted network may claim.
//!
//! A federated peer is none: what it says in them is never believed and never passed on (RFC 3325
//! section 5, and Microsoft's `ms-*` assertions).

use bytes::{Bytes, BytesMut};

use crate::message::{Header, Limits, Message};

/// Names that are stripped, besides all that begin with [`PREFIXES`].
const NAMES: [&str; 10] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "P-Asserted-Service",
    "P-Preferred-Service",
    "P-Served-User",
    "P-User-Database",
    "P-Access-Network-Info",
    "P-Charging-Vector",
    "P-Charging-Function-Addresses",
    "Remote-Party-ID",
];

const PREFIXES: [&str; 2] = ["ms-", "x-ms-"];

/// Whether a header of this name is stripped.
#[must_use]
pub fn is_trust_header(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    };
    PREFIXES.iter().any(|prefix| begins(prefix))
        || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

impl Message {
    /// The message without headers of trust; the same one if it has none. ms-diagnostics, which is
    /// for the operator, is to be read before.
    #[must_use]
    pub fn without_trust_headers(&self) -> Self {
        let stripped = |header: &Header<'_>| is_trust_header(header.written_name);
        if !self.iter().any(|header| stripped(&header)) {
            return self.clone();
        }
        let bytes = self.as_bytes();
        let mut kept = BytesMut::with_capacity(bytes.len());
        let mut from = 0;
        for header in self.iter().filter(stripped) {
            let start = header.written_name.as_ptr() as usize - bytes.as_ptr() as usize;
            let value_end = header.value.as_ptr() as usize + header.value.len();
            let end = match header.value.is_empty() {
                true => start,
                false => value_end - bytes.as_ptr() as usize,
            };
            kept.extend_from_slice(&bytes[from..start]);
            from = end_of_line(bytes, end);
        }
        kept.extend_from_slice(&bytes[from..]);
        reread(kept.freeze())
    }
}

/// Behind the CRLF, folds left behind too.
fn end_of_line(bytes: &[u8], mut from: usize) -> usize {
    loop {
        match memchr::memchr(b'\n', &bytes[from..]) {
            None => return bytes.len(),
            Some(at) => from += at + 1,
        }
        if !matches!(bytes.get(from), Some(b' ' | b'\t')) {
            return from;
        }
    }
}

fn reread(bytes: Bytes) -> Message {
    Message::parse(bytes, &Limits::TRUSTED)
        .expect("a message stays one when whole headers are taken out")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::is_trust_header;
    use crate::message::{Limits, Message};

    #[test]
    fn names_are_known_in_any_case() {
        for name in [
            "ms-user-logon-data",
            "MS-Diagnostics",
            "X-MS-Foo",
            "p-asserted-identity",
            "REMOTE-PARTY-ID",
        ] {
            assert!(is_trust_header(name), "{name}");
        }
        for name in ["ms", "From", "X-Foo", "P-Asserted", "Mson", ""] {
            assert!(!is_trust_header(name), "{name}");
        }
    }

    #[test]
    fn whole_lines_go_and_nothing_else() {
        let kept = "OPTIONS sip:b@example.net SIP/2.0\r\nVia: SIP/2.0/TLS a\r\n b\r\n";
        let text = format!(
            "{kept}ms-one: 1\r\nSubject: x\r\nP-Asserted-Identity: <sip:a@b>,\r\n <tel:+1>\r\n\
             ms-empty:\r\nMS-two:\r\n \r\n\tx\r\nl: 4\r\n\r\nms-x"
        );
        let parse = |text: &str| {
            Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
        };
        let message = parse(&text);
        let stripped = message.without_trust_headers();
        let expected = format!("{kept}Subject: x\r\nl: 4\r\n\r\nms-x");
        assert_eq!(stripped.as_bytes(), expected.as_bytes());
        assert_eq!(stripped.without_trust_headers(), stripped);
    }
}
