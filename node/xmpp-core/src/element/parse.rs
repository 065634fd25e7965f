//! From bytes to a tree.

use std::borrow::Cow;

use super::{Attr, Element};
use crate::ns;
use crate::xml::{Event, Limits, RootScope, Scanner, XmlFault, unescape};

/// Reads exactly one element that stands in `scope`.
pub(super) fn element(
    bytes: &[u8],
    scope: &RootScope,
    limits: &Limits,
) -> Result<Element, XmlFault> {
    if bytes.len() > limits.bytes {
        return Err(XmlFault::TooLarge);
    }
    if bytes.first() != Some(&b'<') {
        return Err(XmlFault::StrayText);
    }
    let mut scanner = Scanner::default();
    // Parents that are still open. No recursion: depth is the limits' affair, not the stack's.
    let mut open: Vec<Element> = Vec::new();
    loop {
        let complete = match scanner.step(bytes, scope, limits)? {
            Event::Incomplete => return Err(XmlFault::Incomplete),
            Event::Start { empty } => {
                let element = start(&scanner, bytes, scope);
                if empty {
                    Some(element)
                } else {
                    open.push(element);
                    None
                }
            }
            Event::End => open.pop(),
            Event::Text => {
                push_text(&mut open, unescape(checked(scanner.token().of(bytes))));
                None
            }
            Event::Cdata => {
                push_text(&mut open, checked(scanner.token().of(bytes)).into());
                None
            }
        };
        let Some(element) = complete else { continue };
        match open.last_mut() {
            Some(parent) => parent.push(element),
            None if scanner.position() == bytes.len() => return Ok(element),
            None => return Err(XmlFault::TrailingBytes),
        }
    }
}

fn push_text(open: &mut [Element], text: Cow<'_, str>) {
    if let Some(parent) = open.last_mut() {
        parent.push_text(text);
    }
}

fn start(scanner: &Scanner, bytes: &[u8], scope: &RootScope) -> Element {
    let name = scanner.name();
    let namespace = |prefix| checked(scanner.lookup(prefix, bytes, scope)).to_owned();
    let mut element = Element::new(
        namespace_name(&namespace(name.prefix)),
        checked(name.local.of(bytes)).to_owned(),
    );
    element.attrs = scanner
        .attributes()
        .iter()
        .filter(|attribute| !attribute.is_declaration(bytes))
        .map(|attribute| Attr {
            ns: (!attribute.name.prefix.is_empty())
                .then(|| namespace_name(&namespace(attribute.name.prefix))),
            name: Cow::Owned(checked(attribute.name.local.of(bytes)).to_owned()),
            value: Cow::Owned(unescape(checked(attribute.value.of(bytes))).into_owned()),
        })
        .collect();
    element
}

fn namespace_name(raw: &str) -> Cow<'static, str> {
    match raw {
        "" => Cow::Borrowed(""),
        ns::XML => Cow::Borrowed(ns::XML),
        _ => Cow::Owned(unescape(raw).into_owned()),
    }
}

/// The scanner has checked names and values.
fn checked(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the scanner lets only UTF-8 through")
}
