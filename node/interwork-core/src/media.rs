//! Media types (RFC 2045 section 5.1, RFC 3261 section 20.15).

/// Longest Content-Type that is read, in bytes.
const MAX_LEN: usize = 1_024;
/// Most parameters that are kept; later ones are ignored.
const MAX_PARAMETERS: usize = 16;

/// The value of a Content-Type header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// `type/subtype`, lower case.
    name: String,
    /// Names in lower case, values without quotes.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a header value. `None` if it is no media type.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > MAX_LEN {
            return None;
        }
        let mut rest = value.trim();
        let name = take_until(&mut rest, &[';']).trim();
        let (kind, subtype) = name.split_once('/')?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters = Vec::new();
        while parameters.len() < MAX_PARAMETERS {
            rest = rest.trim_start_matches([';', ' ', '\t', '\r', '\n']);
            if rest.is_empty() {
                break;
            }
            let name = take_until(&mut rest, &['=', ';']).trim();
            let Some(value) = rest.strip_prefix('=') else {
                continue;
            };
            rest = value.trim_start();
            let value = match rest.strip_prefix('"') {
                Some(quoted) => {
                    rest = quoted;
                    take_quoted(&mut rest)
                }
                None => take_until(&mut rest, &[';']).trim().to_owned(),
            };
            if is_token(name) {
                parameters.push((name.to_ascii_lowercase(), value));
            }
        }
        Some(Self {
            name: format!("{kind}/{subtype}").to_ascii_lowercase(),
            parameters,
        })
    }

    /// What a body without Content-Type is (RFC 2045 section 5.2).
    #[must_use]
    pub fn plain_text() -> Self {
        Self {
            name: "text/plain".to_owned(),
            parameters: Vec::new(),
        }
    }

    /// `type/subtype`, lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a parameter whose name is given in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(listed, _)| listed == name)
            .map(|(_, value)| value.as_str())
    }
}

fn take_until<'a>(rest: &mut &'a str, ends: &[char]) -> &'a str {
    let end = rest.find(ends).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

/// What stands between quotes, the first of which is gone; a missing last one is forgiven.
fn take_quoted(rest: &mut &str) -> String {
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, character)) = chars.next() {
        match character {
            '"' => {
                *rest = &rest[at + 1..];
                return value;
            }
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    *rest = "";
    value
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_values() {
        let plain = MediaType::parse("Text/Plain; CharSet=\"UTF-8\";msgr=WAA; x").unwrap();
        assert_eq!(plain.name(), "text/plain");
        assert_eq!(plain.parameter("charset"), Some("UTF-8"));
        assert_eq!(plain.parameter("msgr"), Some("WAA"));
        assert_eq!(plain.parameter("x"), None);
        let parts =
            MediaType::parse(r#"multipart/alternative ; boundary="a;\"b\\=c";x=1"#).unwrap();
        assert_eq!(parts.name(), "multipart/alternative");
        assert_eq!(parts.parameter("boundary"), Some(r#"a;"b\=c"#));
        assert_eq!(parts.parameter("x"), Some("1"));
        let open = MediaType::parse("a/b;c=\"d").unwrap();
        assert_eq!(open.parameter("c"), Some("d"));
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for value in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "text/pl\u{e9}in",
        ] {
            assert_eq!(MediaType::parse(value), None, "{value}");
        }
        assert_eq!(MediaType::parse(&format!("a/{}", "b".repeat(2_000))), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_none(text in r#"(a/b)?([;="\\ a\t]|é){0,30}"#) {
            let _ = MediaType::parse(&text);
        }
    }
}
