//! XML documents in message bodies: read into small trees, with bounds and without everything that
//! makes XML dangerous. The only place that knows quick-xml.
//!
//! Comments and the XML declaration are passed over; document types, processing instructions and
//! entities of one's own are refused (they could only ever attack). A prefix that is not declared
//! stands for no namespace: what carries it is ignored by whoever looks for a name in a namespace.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use entente_xmpp_core::element::Element;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceError, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

/// Bounds on one document. All of them are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the document as it came.
    pub bytes: usize,
    /// Elements open at once.
    pub depth: usize,
    /// Elements in all.
    pub elements: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
}

impl Bounds {
    /// For presence documents and notices: 64 KiB, 16 deep, 1,024 elements, 32 attributes each.
    pub const BODY: Self = Self {
        bytes: 64 * 1024,
        depth: 16,
        elements: 1_024,
        attributes: 32,
    };
}

/// Why a document was refused: the sender's fault; the same bytes will be refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// More bytes than [`Bounds::bytes`].
    #[error("the document is too large")]
    TooLarge,
    /// More than another bound.
    #[error("the document has too many elements or attributes or is nested too deep")]
    TooComplex,
    /// An unknown encoding, or bytes that are not in the declared one.
    #[error("the document is not in a known encoding")]
    Encoding,
    /// Not well-formed.
    #[error("the document is not well-formed XML")]
    Syntax,
    /// A document type, a processing instruction or an entity.
    #[error("the document uses XML that is not allowed here")]
    Forbidden,
}

/// Reads one document.
///
/// # Errors
/// Says what is wrong with it.
pub fn read_document(bytes: &[u8], bounds: &Bounds) -> Result<Element, DocumentFault> {
    if bytes.len() > bounds.bytes {
        return Err(DocumentFault::TooLarge);
    }
    let text = decoded(bytes)?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    reader
        .resolver_mut()
        .set_max_namespace_bindings(bounds.attributes * 2);
    let mut tree = Tree {
        bounds,
        elements: 0,
        open: Vec::new(),
        root: None,
    };
    loop {
        let (resolved, event) = reader.read_resolved_event().map_err(fault_of)?;
        match event {
            Event::Start(tag) => {
                let element = tree.element(&resolved, &tag)?;
                tree.open.push(element);
            }
            Event::Empty(tag) => {
                let element = tree.element(&resolved, &tag)?;
                tree.complete(element)?;
            }
            // The reader has checked that it matches.
            Event::End(_) => {
                let element = tree.open.pop().ok_or(DocumentFault::Syntax)?;
                tree.complete(element)?;
            }
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = referenced(&reference)?;
                tree.text(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Comment(_) => {}
            Event::Decl(_) if tree.elements == 0 => {}
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                return Err(DocumentFault::Forbidden);
            }
            Event::Eof => break,
        }
    }
    if !tree.open.is_empty() {
        return Err(DocumentFault::Syntax);
    }
    tree.root.ok_or(DocumentFault::Syntax)
}

/// A document under construction.
struct Tree<'a> {
    bounds: &'a Bounds,
    elements: usize,
    open: Vec<Element>,
    root: Option<Element>,
}

impl Tree<'_> {
    /// The element that a tag starts, within bounds.
    fn element(
        &mut self,
        namespace: &ResolveResult<'_>,
        tag: &BytesStart<'_>,
    ) -> Result<Element, DocumentFault> {
        self.elements += 1;
        if self.elements > self.bounds.elements || self.open.len() >= self.bounds.depth {
            return Err(DocumentFault::TooComplex);
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(DocumentFault::Syntax);
        }
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            ResolveResult::Unbound | ResolveResult::Unknown(_) => String::new(),
        };
        let mut element = Element::new(namespace, tag.local_name().into_inner().to_owned());
        for (at, attribute) in tag.attributes().enumerate() {
            if at >= self.bounds.attributes {
                return Err(DocumentFault::TooComplex);
            }
            let attribute = attribute.map_err(|_| DocumentFault::Syntax)?;
            let name = attribute.key.into_inner();
            // Of the attributes with a prefix only `xml:lang` matters to anybody.
            if name.contains(':') && name != "xml:lang" || name == "xmlns" {
                continue;
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| DocumentFault::Syntax)?;
            element.set_attr(name.to_owned(), value.into_owned());
        }
        Ok(element)
    }

    fn complete(&mut self, element: Element) -> Result<(), DocumentFault> {
        match self.open.last_mut() {
            Some(parent) => parent.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), DocumentFault> {
        match self.open.last_mut() {
            Some(parent) => parent.push_text(text),
            None if text.trim().is_empty() => {}
            None => return Err(DocumentFault::Syntax),
        }
        Ok(())
    }
}

/// The text of the document: by its byte order mark, else by the encoding that its declaration names,
/// else UTF-8.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, DocumentFault> {
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => declared(bytes)?,
    };
    if !encoding.is_ascii_compatible() && Encoding::for_bom(bytes).is_none() {
        // The declaration was readable as ASCII, so it is not in this encoding.
        return Err(DocumentFault::Encoding);
    }
    let (text, _, malformed) = encoding.decode(bytes);
    if malformed {
        return Err(DocumentFault::Encoding);
    }
    Ok(text)
}

/// The encoding in `<?xml version="1.0" encoding="…"?>`.
fn declared(bytes: &[u8]) -> Result<&'static Encoding, DocumentFault> {
    let start = &bytes[..bytes.len().min(128)];
    if !start.starts_with(b"<?xml") {
        return Ok(UTF_8);
    }
    let end = memchr::memchr(b'>', start).unwrap_or(start.len());
    let Some(at) = memchr::memmem::find(&start[..end], b"encoding") else {
        return Ok(UTF_8);
    };
    let label = start[at + b"encoding".len()..end]
        .split(|byte| matches!(byte, b'\'' | b'"'))
        .nth(1)
        .ok_or(DocumentFault::Syntax)?;
    Encoding::for_label_no_replacement(label).ok_or(DocumentFault::Encoding)
}

/// The character behind a reference: by number, or one of the five predefined entities.
fn referenced(reference: &BytesRef<'_>) -> Result<char, DocumentFault> {
    if let Some(character) = reference
        .resolve_char_ref()
        .map_err(|_| DocumentFault::Syntax)?
    {
        return Ok(character);
    }
    match reference.xml10_content().as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(DocumentFault::Forbidden),
    }
}

fn fault_of(error: quick_xml::Error) -> DocumentFault {
    match error {
        quick_xml::Error::Namespace(NamespaceError::TooManyBindings(_)) => {
            DocumentFault::TooComplex
        }
        _ => DocumentFault::Syntax,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Element, DocumentFault> {
        read_document(text.as_bytes(), &Bounds::BODY)
    }

    #[test]
    fn a_document_with_everything_that_is_allowed() {
        let root = read(
            "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\r\n<!-- a --> \
             <p:a xmlns:p='urn:1' xmlns='urn:2' id='&lt;&#65;'> \
             <b xml:lang='de' p:x='1'>x &amp; &#xe9;<![CDATA[<y>]]></b><!-- b --><q:c/></p:a>\n",
        )
        .unwrap();
        assert!(root.is("urn:1", "a"));
        assert_eq!(root.get_attr("id"), Some("<A"));
        let b = root.get_child("urn:2", "b").unwrap();
        assert_eq!(b.content_text(), "x & é<y>");
        assert_eq!(b.get_attr("xml:lang"), Some("de"));
        assert_eq!(b.attrs().len(), 1);
        assert!(root.has_child("", "c"));
    }

    #[test]
    fn other_encodings_are_understood() {
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>caf\xe9</a>";
        let root = read_document(latin, &Bounds::BODY).unwrap();
        assert_eq!(root.content_text(), "café");
        let wide: Vec<u8> = "\u{feff}<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let root = read_document(&wide, &Bounds::BODY).unwrap();
        assert_eq!(root.content_text(), "é");
    }

    #[test]
    fn attacks_are_refused() {
        for attack in [
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a>&x;</a>",
            "<?php x?><a/>",
            "<a><?pi x?></a>",
            "<a><?xml version='1.0'?></a>",
        ] {
            assert_eq!(read(attack), Err(DocumentFault::Forbidden), "{attack}");
        }
        for broken in [
            "",
            " ",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>text",
            "<a x='1' x='2'/>",
            "<a x=1/>",
            "<a x='&y;'/>",
            "<a>&#0;</a>",
            "<a>& b</a>",
            "<a",
        ] {
            assert_eq!(read(broken), Err(DocumentFault::Syntax), "{broken}");
        }
        for (bytes, fault) in [
            (&b"<a>\xff</a>"[..], DocumentFault::Encoding),
            (
                b"<?xml version='1.0' encoding='klingon'?><a/>",
                DocumentFault::Encoding,
            ),
            (
                b"<?xml version='1.0' encoding='UTF-16'?><a/>",
                DocumentFault::Encoding,
            ),
        ] {
            assert_eq!(read_document(bytes, &Bounds::BODY), Err(fault));
        }
    }

    #[test]
    fn every_bound_holds_at_its_edge() {
        let bounds = Bounds {
            bytes: 100,
            depth: 3,
            elements: 5,
            attributes: 2,
        };
        let outcome = |text: &str| read_document(text.as_bytes(), &bounds).err();
        let padded = |len: usize| format!("<a>{}</a>", " ".repeat(len - 7));
        assert_eq!(outcome(&padded(100)), None);
        assert_eq!(outcome(&padded(101)), Some(DocumentFault::TooLarge));
        let too_complex = Some(DocumentFault::TooComplex);
        assert_eq!(outcome("<a><a><a/></a></a>"), None);
        assert_eq!(outcome("<a><a><a><a/></a></a></a>"), too_complex);
        assert_eq!(outcome("<a><b/><b/><b/><b/></a>"), None);
        assert_eq!(outcome("<a><b/><b/><b/><b/><b/></a>"), too_complex);
        assert_eq!(outcome("<a b='' c=''/>"), None);
        assert_eq!(outcome("<a b='' c='' d=''/>"), too_complex);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_document(&bytes, &Bounds::BODY);
        }

        #[test]
        fn anything_like_xml_is_read_or_refused(
            text in r"(<a( x='&lt;'| xmlns:p='u'|)>|</a>|<p:b/>|&amp;|&#x41;|&z;|<!--|-->|<!\[CDATA\[|\]\]>|<\?|é|'| ){0,20}"
        ) {
            let _ = read(&text);
        }
    }
}
