//! HTML reduced to what it says.
//!
//! Not a browser: it never fails, and what it does not know it passes over. White space is collapsed
//! outside `pre`, blocks begin lines, list items get a dash, links show where they lead if their text
//! does not.

use super::entities;

/// Longest tag, in bytes; a longer one is text.
const MAX_TAG: usize = 4 * 1024;

/// The text.
pub(super) fn to_text(html: &str) -> String {
    let mut converter = Converter {
        out: String::with_capacity(html.len()),
        preformatted: 0,
        space: false,
        link: None,
    };
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        converter.text(&rest[..at]);
        rest = &rest[at..];
        match Markup::read(rest) {
            Some((markup, len)) => {
                rest = &rest[len..];
                rest = converter.markup(&markup, rest);
            }
            None => {
                converter.text("<");
                rest = &rest[1..];
            }
        }
    }
    converter.text(rest);
    converter.out.trim_matches('\n').to_owned()
}

/// What stands between `<` and `>`.
enum Markup<'a> {
    Start {
        name: String,
        attributes: &'a str,
    },
    End {
        name: String,
    },
    /// A comment, a declaration, an instruction.
    Other,
}

impl<'a> Markup<'a> {
    /// Reads the markup that the text starts with, and its length.
    fn read(text: &'a str) -> Option<(Self, usize)> {
        if let Some(comment) = text.strip_prefix("<!--") {
            let len = comment.find("-->").map_or(text.len(), |end| end + 7);
            return Some((Self::Other, len));
        }
        let len = tag_len(text.as_bytes())?;
        let inside = &text[1..len - 1];
        let markup = match inside.as_bytes().first()? {
            b'!' | b'?' => Self::Other,
            b'/' => Self::End {
                name: name_of(&inside[1..])?,
            },
            _ => {
                let name = name_of(inside)?;
                let attributes = &inside[name.len()..];
                Self::Start { name, attributes }
            }
        };
        Some((markup, len))
    }
}

/// The tag's length: to the first `>` outside quotes, or to the first one if a quote never ends. `<`
/// outside quotes means that this is no tag; so each byte is looked at a few times at most.
fn tag_len(text: &[u8]) -> Option<usize> {
    let window = &text[..text.len().min(MAX_TAG)];
    let mut quote = None;
    for (at, &byte) in window.iter().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'<') => return None,
            // A quote opens a value only behind `=`; apostrophes elsewhere are a client's mistake.
            (None, b'"' | b'\'') if window[at - 1] == b'=' => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    quote.and_then(|_| memchr::memchr(b'>', window).map(|at| at + 1))
}

/// The lower-case element name that the text starts with.
fn name_of(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-')
        .unwrap_or(text.len());
    let name = &text[..end];
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        .then(|| name.to_ascii_lowercase())
}

/// The value of an attribute.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let end = rest
            .find(|c: char| c.is_ascii_whitespace() || c == '=')
            .unwrap_or(rest.len());
        if rest.is_empty() {
            return None;
        }
        let (name, after) = rest.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inside = &value[1..];
                inside.split_once(quote).unwrap_or((inside, ""))
            }
            _ => {
                let end = value
                    .find(|c: char| c.is_ascii_whitespace())
                    .unwrap_or(value.len());
                value.split_at(end)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(unescape(value));
        }
        rest = after;
    }
}

/// Replaces references. Unknown ones stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '#')
            .unwrap_or(rest.len());
        match referenced(&rest[..end]) {
            Some(character) => {
                out.push(character);
                rest = &rest[end..];
                rest = rest.strip_prefix(';').unwrap_or(rest);
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

fn referenced(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return entities::named(name);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    }
    .ok()?;
    // What Windows clients mean by the numbers of control characters.
    if let byte @ 0x80..=0x9f = code {
        let byte = [byte as u8];
        let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&byte);
        return text.chars().next();
    }
    char::from_u32(code).filter(|&character| character != '\0')
}

struct Converter {
    out: String,
    /// How many `pre` are open.
    preformatted: usize,
    /// White space came, which counts if text follows on the same line.
    space: bool,
    /// Where an open link leads, and where its text starts in `out`.
    link: Option<(String, usize)>,
}

impl Converter {
    fn text(&mut self, raw: &str) {
        for character in unescape(raw).chars() {
            match character {
                _ if self.preformatted > 0 => self.out.push(character),
                ' ' | '\t' | '\n' | '\r' | '\u{c}' => self.space = true,
                character => {
                    if self.space && !self.at_line_start() {
                        self.out.push(' ');
                    }
                    self.space = false;
                    self.out.push(if character == '\u{a0}' {
                        ' '
                    } else {
                        character
                    });
                }
            }
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with('\n')
    }

    fn new_line(&mut self) {
        if !self.at_line_start() {
            self.out.push('\n');
        }
        self.space = false;
    }

    /// Follows the markup; returns what of `rest` is left to read.
    fn markup<'a>(&mut self, markup: &Markup<'_>, rest: &'a str) -> &'a str {
        match markup {
            Markup::Start { name, attributes } => return self.start(name, attributes, rest),
            Markup::End { name } => self.end(name),
            Markup::Other => {}
        }
        rest
    }

    fn start<'a>(&mut self, name: &str, attributes: &str, rest: &'a str) -> &'a str {
        match name {
            "script" | "style" | "title" | "template" | "noframes" | "iframe" | "svg"
                if !attributes.trim_end().ends_with('/') =>
            {
                return after_end_tag(rest, name);
            }
            "br" => {
                self.out.push('\n');
                self.space = false;
            }
            "li" => {
                self.new_line();
                self.out.push_str("- ");
            }
            "td" | "th" => {
                if !self.at_line_start() {
                    self.out.push('\t');
                }
                self.space = false;
            }
            "pre" => {
                self.new_line();
                self.preformatted += 1;
            }
            "img" => {
                if let Some(alt) = attribute(attributes, "alt") {
                    self.text(&alt.replace('&', "&amp;"));
                }
            }
            "a" => {
                self.end("a");
                if let Some(target) = attribute(attributes, "href") {
                    self.link = Some((target, self.out.len()));
                }
            }
            name if is_block(name) => self.new_line(),
            _ => {}
        }
        rest
    }

    fn end(&mut self, name: &str) {
        match name {
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.new_line();
            }
            "a" => {
                let Some((target, start)) = self.link.take() else {
                    return;
                };
                let text = self.out.get(start..).unwrap_or_default().trim();
                let is_web = target.starts_with("http://") || target.starts_with("https://");
                let stem = target.trim_end_matches('/');
                if is_web && !stem.ends_with(text.trim_end_matches('/')) {
                    self.out.push_str(&format!(" <{target}>"));
                } else if is_web && text.is_empty() {
                    self.out.push_str(&target);
                }
            }
            name if is_block(name) || name == "li" => self.new_line(),
            _ => {}
        }
    }
}

/// Elements that begin a line and end one.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "center"
            | "dd"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "html"
            | "main"
            | "nav"
            | "ol"
            | "p"
            | "section"
            | "table"
            | "tr"
            | "ul"
    )
}

/// What follows the end tag of an element whose content is no text; nothing if it never ends.
fn after_end_tag<'a>(rest: &'a str, name: &str) -> &'a str {
    let bytes = rest.as_bytes();
    for at in memchr::memmem::find_iter(bytes, b"</") {
        let after = &rest[at + 2..];
        let found = after
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name));
        if found {
            return after.split_once('>').map_or("", |(_, rest)| rest);
        }
    }
    ""
}
