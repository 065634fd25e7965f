//! One top-level element as it came, with just enough reading to script against.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use memchr::memmem;

/// An element's bytes. Namespaces and prefixes are left as the server wrote them.
#[derive(Clone, PartialEq, Eq)]
pub struct Stanza {
    bytes: Bytes,
}

impl Stanza {
    /// Wraps bytes that begin with a tag; `None` if they are not UTF-8.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).ok()?;
        Some(Self { bytes })
    }

    /// The whole element.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("checked when the stanza was made")
    }

    /// The bytes of the whole element.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The element's name with its prefix, if it has one.
    pub fn name(&self) -> &str {
        let text = &self.as_str()[1..];
        let end = text
            .find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
            .unwrap_or(text.len());
        &text[..end]
    }

    /// Whether the element has this name, whatever its prefix.
    pub fn is(&self, local: &str) -> bool {
        let name = self.name();
        name.rsplit(':').next() == Some(local)
    }

    /// The raw value of an attribute of the first tag (references not replaced).
    pub fn raw_attr(&self, name: &str) -> Option<&str> {
        attribute(self.as_str(), name)
    }

    /// The value of an attribute of the first tag.
    pub fn attr(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw_attr(name).map(unescape)
    }

    /// Whether the element's text contains `needle`, anywhere.
    pub fn contains(&self, needle: &str) -> bool {
        memmem::find(&self.bytes, needle.as_bytes()).is_some()
    }

    /// The first descendant named `name` (with this very prefix), as a stanza of its own that
    /// reaches to this element's end: for reading its attributes, or for finding the next one.
    pub fn find(&self, name: &str) -> Option<Stanza> {
        let at = self.tag_from(1, name)?;
        Some(Self {
            bytes: self.bytes.slice(at..),
        })
    }

    /// The text of this element or of its first descendant named `name`, with references replaced;
    /// what that element contains is not looked into.
    pub fn text_of(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = &self.as_str()[self.tag_from(0, name)?..];
        let open = text.find('>')?;
        if text[..open].ends_with('/') {
            return Some(Cow::Borrowed(""));
        }
        let close = text.find(&format!("</{name}>"))?;
        text.get(open + 1..close).map(unescape)
    }

    /// Where the first tag of this name begins, at or after `from`.
    fn tag_from(&self, mut from: usize, name: &str) -> Option<usize> {
        let text = self.as_str();
        loop {
            let at = from + memmem::find(&text.as_bytes()[from..], b"<")?;
            let rest = &text[at + 1..];
            if rest.starts_with(name)
                && rest[name.len()..]
                    .starts_with(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
            {
                return Some(at);
            }
            from = at + 1;
        }
    }
}

impl fmt::Display for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text.get(text.find(|c: char| c.is_ascii_whitespace() || c == '>')?..)?;
    loop {
        rest = rest.trim_start();
        let equals = rest.find(['=', '>'])?;
        if rest.as_bytes()[equals] == b'>' {
            return None;
        }
        let key = rest[..equals].trim_end();
        let value = rest[equals + 1..].trim_start();
        let quote = value.chars().next().filter(|q| matches!(q, '\'' | '"'))?;
        let close = value[1..].find(quote)? + 1;
        if key == name {
            return Some(&value[1..close]);
        }
        rest = &value[close + 1..];
    }
}

/// Replaces the five predefined references and numeric ones; anything else is left as it is.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('&') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match rest
            .find(';')
            .and_then(|end| Some((end, reference(&rest[1..end])?)))
        {
            Some((end, character)) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn reference(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// Makes `text` safe inside an attribute value or as character data.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '\'', '"']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stanza(text: &str) -> Stanza {
        Stanza::from_bytes(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn attributes_are_found_by_their_whole_name() {
        let s =
            stanza("<message xml:id='no' id = \"a&amp;b\" from='x@y/>'><body id='z'/></message>");
        assert_eq!(s.attr("id").as_deref(), Some("a&b"));
        assert_eq!(s.attr("from").as_deref(), Some("x@y/>"));
        assert_eq!(s.attr("to"), None);
        assert_eq!(stanza("<r/>").attr("id"), None);
    }

    #[test]
    fn names_and_texts() {
        let s = stanza("<stream:features><bodyx/><body>a &#x41;&lt;</body></stream:features>");
        assert_eq!(s.name(), "stream:features");
        assert!(s.is("features"));
        assert_eq!(s.text_of("body").as_deref(), Some("a A<"));
        assert_eq!(s.text_of("bodyx").as_deref(), Some(""));
        assert_eq!(s.text_of("none"), None);
        assert_eq!(
            stanza("<challenge xmlns='x'>Zm9v</challenge>")
                .text_of("challenge")
                .as_deref(),
            Some("Zm9v")
        );
        let nested = stanza("<q><item n='1'/><item n='2'/></q>");
        let second = nested.find("item").and_then(|first| first.find("item"));
        assert_eq!(second.unwrap().raw_attr("n"), Some("2"));
    }

    #[test]
    fn escaping_and_back() {
        let text = "<a b='c' d=\"e\"> & é";
        assert_eq!(unescape(&escape(text)), text);
        assert_eq!(unescape("&bogus; & &#xD800;"), "&bogus; & &#xD800;");
    }
}
