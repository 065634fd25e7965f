//! The resumable scanner: one element after its first `<`, cut into tags and text.
//!
//! All positions are offsets from the start of the element, so that the buffer around it may move and
//! grow between two calls. A token is looked at when it is complete; how far an incomplete one was
//! searched is remembered, so that bytes that trickle in are not searched twice.

use smallvec::SmallVec;

use super::chars::{self, NAME, NAME_START, SPACE, VALUE_STOP, check_name_characters, is};
use super::text::{check_cdata, check_reference, check_text};
use super::{Limits, RootScope, XmlFault};
use crate::ns;

/// A range of bytes from the start of the element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A name as written, with or without a prefix.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QName {
    /// Empty when there is no prefix.
    pub(crate) prefix: Span,
    pub(crate) local: Span,
}

impl QName {
    pub(crate) fn whole(self) -> Span {
        match self.prefix.is_empty() {
            true => self.local,
            false => Span {
                start: self.prefix.start,
                end: self.local.end,
            },
        }
    }
}

/// One attribute of the last start tag.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attribute {
    pub(crate) name: QName,
    /// Between the quotes, references not resolved.
    pub(crate) value: Span,
}

impl Attribute {
    /// From the name to the closing quote.
    pub(crate) fn whole(&self) -> Span {
        Span {
            start: self.name.whole().start,
            end: self.value.end + 1,
        }
    }

    /// Whether this declares a namespace.
    pub(crate) fn is_declaration(&self, bytes: &[u8]) -> bool {
        let local = self.name.local.of(bytes);
        match self.name.prefix.is_empty() {
            true => local == b"xmlns",
            false => self.name.prefix.of(bytes) == b"xmlns",
        }
    }
}

/// What the scanner found. Its place is [`Scanner::token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A start tag; see [`Scanner::name`] and [`Scanner::attributes`]. An empty element gets no
    /// [`Event::End`].
    Start {
        empty: bool,
    },
    End,
    Text,
    /// [`Scanner::token`] is the inside of the section.
    Cdata,
    /// The buffer ends within a token.
    Incomplete,
}

#[derive(Debug, Clone, Copy)]
struct Binding {
    prefix: Span,
    uri: Span,
    depth: u32,
}

/// How far the search for the end of an incomplete token got.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Bytes up to here were searched; 0 when the token is new.
    searched: usize,
    /// In a start tag: the quote that is open, or 0.
    quote: u8,
}

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    position: usize,
    token: Span,
    progress: Progress,
    name: QName,
    attributes: SmallVec<[Attribute; 8]>,
    open: SmallVec<[Span; 8]>,
    bindings: SmallVec<[Binding; 4]>,
    /// Prefixes of the root scope that the element uses, by their index there.
    borrowed: SmallVec<[u16; 2]>,
}

impl Scanner {
    /// Forgets the element, and the memory that only unusual elements need.
    pub(crate) fn reset(&mut self) {
        self.position = 0;
        self.progress = Progress::default();
        self.open.clear();
        self.bindings.clear();
        self.borrowed.clear();
        self.attributes.clear();
        if self.open.spilled() {
            self.open.shrink_to_fit();
        }
        if self.bindings.spilled() {
            self.bindings.shrink_to_fit();
        }
        if self.attributes.spilled() {
            self.attributes.shrink_to_fit();
        }
    }

    /// Where the next token starts.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    #[cfg(test)]
    pub(super) fn searched(&self) -> usize {
        self.progress.searched
    }

    /// Elements that are open now.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn token(&self) -> Span {
        self.token
    }

    /// Name of the last start tag.
    pub(crate) fn name(&self) -> QName {
        self.name
    }

    /// Attributes of the last start tag.
    pub(crate) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    pub(crate) fn borrowed_prefixes(&self) -> &[u16] {
        &self.borrowed
    }

    /// Finds the next token.
    pub(crate) fn step(
        &mut self,
        bytes: &[u8],
        scope: &RootScope,
        limits: &Limits,
    ) -> Result<Event, XmlFault> {
        let rest = &bytes[self.position..];
        match rest {
            [] => Ok(Event::Incomplete),
            [b'<', b'/', ..] => self.end_tag(bytes),
            [b'<', b'!', ..] => self.declaration(bytes),
            [b'<', b'?', ..] => Err(XmlFault::ProcessingInstruction),
            [b'<'] => Ok(Event::Incomplete),
            [b'<', ..] => self.start_tag(bytes, scope, limits),
            _ => self.text(bytes),
        }
    }

    fn finish(&mut self, token: Span, next: usize, event: Event) -> Event {
        self.token = token;
        self.position = next;
        self.progress = Progress::default();
        event
    }

    fn text(&mut self, bytes: &[u8]) -> Result<Event, XmlFault> {
        let from = self.position.max(self.progress.searched);
        let Some(found) = memchr::memchr(b'<', &bytes[from..]) else {
            self.progress.searched = bytes.len();
            return Ok(Event::Incomplete);
        };
        let token = Span::new(self.position, from + found);
        check_text(token.of(bytes))?;
        Ok(self.finish(token, from + found, Event::Text))
    }

    fn declaration(&mut self, bytes: &[u8]) -> Result<Event, XmlFault> {
        const CDATA: &[u8] = b"<![CDATA[";
        let rest = &bytes[self.position..];
        match rest.get(2) {
            None => return Ok(Event::Incomplete),
            Some(b'-') => return Err(XmlFault::Comment),
            Some(b'[') => {}
            Some(_) => return Err(XmlFault::Doctype),
        }
        let seen = rest.len().min(CDATA.len());
        if rest[..seen] != CDATA[..seen] {
            return Err(XmlFault::Tag);
        }
        if seen < CDATA.len() {
            return Ok(Event::Incomplete);
        }
        let start = self.position + CDATA.len();
        // Two bytes back: the end may have been cut.
        let from = start.max(self.progress.searched.saturating_sub(2));
        let Some(found) = memchr::memmem::find(&bytes[from..], b"]]>") else {
            self.progress.searched = bytes.len();
            return Ok(Event::Incomplete);
        };
        let token = Span::new(start, from + found);
        check_cdata(token.of(bytes))?;
        Ok(self.finish(token, from + found + 3, Event::Cdata))
    }

    fn end_tag(&mut self, bytes: &[u8]) -> Result<Event, XmlFault> {
        let name_start = self.position + 2;
        let Some(expected) = self.open.last() else {
            return Err(XmlFault::Mismatch);
        };
        let expected = expected.of(bytes);
        let rest = &bytes[name_start..];
        let seen = rest.len().min(expected.len());
        if rest[..seen] != expected[..seen] {
            return Err(XmlFault::Mismatch);
        }
        let mut end = self.progress.searched.max(name_start + expected.len());
        while bytes.get(end).is_some_and(|b| is(*b, SPACE)) {
            end += 1;
        }
        match bytes.get(end) {
            None => {
                if seen == expected.len() {
                    self.progress.searched = end;
                }
                Ok(Event::Incomplete)
            }
            Some(b'>') => {
                self.open.pop();
                let token = Span::new(self.position, end + 1);
                Ok(self.finish(token, end + 1, Event::End))
            }
            Some(_) => Err(XmlFault::Mismatch),
        }
    }

    fn start_tag(
        &mut self,
        bytes: &[u8],
        scope: &RootScope,
        limits: &Limits,
    ) -> Result<Event, XmlFault> {
        if self.progress.searched > 0 && !self.tag_is_complete(bytes) {
            return Ok(Event::Incomplete);
        }
        let depth = self.open.len() as u32;
        while self.bindings.last().is_some_and(|last| last.depth >= depth) {
            self.bindings.pop();
        }
        let Some((next, empty)) = self.read_tag(bytes, limits)? else {
            self.progress.searched = self.position + 1;
            self.progress.quote = 0;
            self.tag_is_complete(bytes);
            return Ok(Event::Incomplete);
        };
        self.declare(bytes, depth, limits)?;
        self.check_prefixes(bytes, scope)?;
        if self.open.len() >= limits.depth {
            return Err(XmlFault::TooDeep);
        }
        if !empty {
            self.open.push(self.name.whole());
        }
        let token = Span::new(self.position, next);
        Ok(self.finish(token, next, Event::Start { empty }))
    }

    /// Goes on with the search for the `>` of a start tag.
    fn tag_is_complete(&mut self, bytes: &[u8]) -> bool {
        let mut at = self.progress.searched;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let found = match self.progress.quote {
                0 => memchr::memchr3(b'>', b'"', b'\'', rest),
                quote => memchr::memchr(quote, rest),
            };
            let Some(found) = found else {
                at = bytes.len();
                break;
            };
            at += found;
            let byte = bytes[at];
            if byte == b'>' && self.progress.quote == 0 {
                self.progress.searched = at;
                return true;
            }
            self.progress.quote = if self.progress.quote == 0 { byte } else { 0 };
            at += 1;
        }
        self.progress.searched = at;
        false
    }

    /// Reads name and attributes of the start tag at the position; returns where it ends and whether
    /// it is an empty element, or `None` if the buffer ends first.
    fn read_tag(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(usize, bool)>, XmlFault> {
        self.attributes.clear();
        let mut at = self.position + 1;
        let Some(name) = read_name(bytes, &mut at)? else {
            return Ok(None);
        };
        self.name = name;
        loop {
            let before = at;
            skip_space(bytes, &mut at);
            match bytes.get(at) {
                None => return Ok(None),
                Some(b'>') => return Ok(Some((at + 1, false))),
                Some(b'/') => {
                    return match bytes.get(at + 1) {
                        None => Ok(None),
                        Some(b'>') => Ok(Some((at + 2, true))),
                        Some(_) => Err(XmlFault::Tag),
                    };
                }
                Some(_) if at == before => return Err(XmlFault::Tag),
                Some(_) => {}
            }
            if self.attributes.len() >= limits.attributes {
                return Err(XmlFault::TooManyAttributes);
            }
            let Some(attribute) = read_attribute(bytes, &mut at)? else {
                return Ok(None);
            };
            self.attributes.push(attribute);
        }
    }

    /// Takes up the namespace declarations of the tag just read.
    fn declare(&mut self, bytes: &[u8], depth: u32, limits: &Limits) -> Result<(), XmlFault> {
        for attribute in &self.attributes {
            if !attribute.is_declaration(bytes) {
                continue;
            }
            let uri = attribute.value.of(bytes);
            let prefix = match attribute.name.prefix.is_empty() {
                true => Span::default(),
                false => attribute.name.local,
            };
            let name = prefix.of(bytes);
            // Namespaces in XML 1.0, sections 3 and 5.
            let reserved = uri == ns::XMLNS.as_bytes()
                || name == b"xmlns"
                || (name == b"xml") != (uri == ns::XML.as_bytes());
            let undeclared = !prefix.is_empty() && uri.is_empty();
            if reserved || undeclared {
                return Err(XmlFault::NamespaceDeclaration);
            }
            if self.bindings.len() >= limits.namespaces {
                return Err(XmlFault::TooManyNamespaces);
            }
            self.bindings.push(Binding {
                prefix,
                uri: attribute.value,
                depth,
            });
        }
        Ok(())
    }

    /// Every prefix is declared, and no attribute comes twice.
    fn check_prefixes(&mut self, bytes: &[u8], scope: &RootScope) -> Result<(), XmlFault> {
        if !self.name.prefix.is_empty() {
            self.require(self.name.prefix, bytes, scope)?;
        }
        let mut prefixed = 0;
        for index in 0..self.attributes.len() {
            let attribute = self.attributes[index];
            let name = attribute.name.whole().of(bytes);
            let repeated = self.attributes[..index]
                .iter()
                .any(|other| other.name.whole().of(bytes) == name);
            if repeated {
                return Err(XmlFault::DuplicateAttribute);
            }
            if !attribute.name.prefix.is_empty() && !attribute.is_declaration(bytes) {
                self.require(attribute.name.prefix, bytes, scope)?;
                prefixed += 1;
            }
        }
        if prefixed > 1 && self.repeats_by_namespace(bytes, scope) {
            return Err(XmlFault::DuplicateAttribute);
        }
        Ok(())
    }

    fn repeats_by_namespace(&self, bytes: &[u8], scope: &RootScope) -> bool {
        let expanded: SmallVec<[_; 8]> = self
            .attributes
            .iter()
            .filter(|attribute| {
                !attribute.name.prefix.is_empty() && !attribute.is_declaration(bytes)
            })
            .map(|attribute| {
                let uri = self.lookup(attribute.name.prefix, bytes, scope);
                (uri, attribute.name.local.of(bytes))
            })
            .collect();
        (1..expanded.len()).any(|index| expanded[..index].contains(&expanded[index]))
    }

    /// Notes the use of a prefix that must be in scope.
    fn require(&mut self, prefix: Span, bytes: &[u8], scope: &RootScope) -> Result<(), XmlFault> {
        let name = prefix.of(bytes);
        if name == b"xml" || self.binding(name, bytes).is_some() {
            return Ok(());
        }
        let (index, _) = scope.find(name).ok_or(XmlFault::UndeclaredPrefix)?;
        let index = index as u16;
        if !self.borrowed.contains(&index) {
            self.borrowed.push(index);
        }
        Ok(())
    }

    fn binding(&self, prefix: &[u8], bytes: &[u8]) -> Option<Span> {
        self.bindings
            .iter()
            .rev()
            .find(|binding| binding.prefix.of(bytes) == prefix)
            .map(|binding| binding.uri)
    }

    /// The namespace declared for a prefix inside the element; `None` if that happens outside. The
    /// empty prefix asks for the default namespace.
    pub(crate) fn declared_inside(&self, prefix: Span, bytes: &[u8]) -> Option<Span> {
        self.binding(prefix.of(bytes), bytes)
    }

    /// The namespace of a prefix in scope of the last start tag.
    pub(crate) fn lookup<'a>(
        &self,
        prefix: Span,
        bytes: &'a [u8],
        scope: &'a RootScope,
    ) -> &'a [u8] {
        let name = prefix.of(bytes);
        if let Some(uri) = self.binding(name, bytes) {
            return uri.of(bytes);
        }
        match name {
            b"" => scope.default_ns().as_bytes(),
            b"xml" => ns::XML.as_bytes(),
            _ => scope.find(name).map_or(b"", |(_, uri)| uri.as_bytes()),
        }
    }
}

fn skip_space(bytes: &[u8], at: &mut usize) {
    while bytes.get(*at).is_some_and(|b| is(*b, SPACE)) {
        *at += 1;
    }
}

fn read_name(bytes: &[u8], at: &mut usize) -> Result<Option<QName>, XmlFault> {
    let start = *at;
    let mut colon = None;
    let mut high = 0u8;
    let mut end = start;
    loop {
        let Some(&byte) = bytes.get(end) else {
            return Ok(None);
        };
        let class = chars::CLASS[usize::from(byte)];
        let starts = end == start || colon == Some(end - 1);
        if class & (if starts { NAME_START } else { NAME }) != 0 {
            high |= byte;
        } else if byte == b':' && colon.is_none() && end > start {
            colon = Some(end);
        } else if starts {
            return Err(XmlFault::Name);
        } else {
            break;
        }
        end += 1;
    }
    if bytes[end] == b':' {
        return Err(XmlFault::Name);
    }
    if high >= 0x80 {
        check_name_characters(&bytes[start..end])?;
    }
    *at = end;
    Ok(Some(match colon {
        None => QName {
            prefix: Span::default(),
            local: Span::new(start, end),
        },
        Some(colon) => QName {
            prefix: Span::new(start, colon),
            local: Span::new(colon + 1, end),
        },
    }))
}

fn read_attribute(bytes: &[u8], at: &mut usize) -> Result<Option<Attribute>, XmlFault> {
    let Some(name) = read_name(bytes, at)? else {
        return Ok(None);
    };
    skip_space(bytes, at);
    match bytes.get(*at) {
        None => return Ok(None),
        Some(b'=') => *at += 1,
        Some(_) => return Err(XmlFault::Attribute),
    }
    skip_space(bytes, at);
    let quote = match bytes.get(*at) {
        None => return Ok(None),
        Some(&quote @ (b'\'' | b'"')) => quote,
        Some(_) => return Err(XmlFault::Attribute),
    };
    let start = *at + 1;
    let mut end = start;
    let mut high = 0u8;
    loop {
        let Some(&byte) = bytes.get(end) else {
            return Ok(None);
        };
        if !is(byte, VALUE_STOP) {
            high |= byte;
            end += 1;
            continue;
        }
        match byte {
            _ if byte == quote => break,
            b'\'' | b'"' => end += 1,
            b'<' => return Err(XmlFault::Attribute),
            b'&' => match check_reference(&bytes[end..])? {
                None => return Ok(None),
                Some(len) => end += len,
            },
            _ => return Err(XmlFault::Character),
        }
    }
    if high >= 0x80 {
        chars::check_unicode(&bytes[start..end])?;
    }
    *at = end + 1;
    Ok(Some(Attribute {
        name,
        value: Span::new(start, end),
    }))
}
