//! From a tree to bytes.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::{Element, Node};
use crate::ns;
use crate::xml::{escape_attribute, escape_text};

/// Appends an element where `default_ns` is the default namespace.
pub(crate) fn write_element(out: &mut BytesMut, element: &Element, default_ns: &str) {
    open_tag(out, element, None, default_ns);
    close(out, element, None, element.ns());
}

/// Appends an element under a prefix that is declared on the stream root, as peers that compare
/// prefixes literally want it. The default namespace stays what it is.
pub(crate) fn write_prefixed(
    out: &mut BytesMut,
    element: &Element,
    prefix: &'static str,
    default_ns: &str,
) {
    open_tag(out, element, Some(prefix), default_ns);
    close(out, element, Some(prefix), default_ns);
}

fn put_name(out: &mut BytesMut, element: &Element, prefix: Option<&str>) {
    if let Some(prefix) = prefix {
        out.put_slice(prefix.as_bytes());
        out.put_u8(b':');
    }
    out.put_slice(element.name.as_bytes());
}

fn put_attribute(out: &mut BytesMut, name: &[&str], value: &str) {
    out.put_u8(b' ');
    for part in name {
        out.put_slice(part.as_bytes());
    }
    out.put_slice(b"='");
    escape_attribute(out, value);
    out.put_u8(b'\'');
}

fn open_tag(out: &mut BytesMut, element: &Element, prefix: Option<&str>, default_ns: &str) {
    out.put_u8(b'<');
    put_name(out, element, prefix);
    if prefix.is_none() && element.ns() != default_ns {
        put_attribute(out, &["xmlns"], element.ns());
    }
    for (index, attr) in element.attrs.iter().enumerate() {
        match &attr.ns {
            None => put_attribute(out, &[&attr.name], &attr.value),
            Some(namespace) if namespace == ns::XML => {
                put_attribute(out, &["xml:", &attr.name], &attr.value);
            }
            Some(namespace) => {
                let prefix: Cow<'static, str> = format!("a{index}").into();
                put_attribute(out, &["xmlns:", &prefix], namespace);
                put_attribute(out, &[&prefix, ":", &attr.name], &attr.value);
            }
        }
    }
}

fn close(out: &mut BytesMut, element: &Element, prefix: Option<&'static str>, inner_ns: &str) {
    if element.children.is_empty() {
        out.put_slice(b"/>");
        return;
    }
    out.put_u8(b'>');
    for node in &element.children {
        match node {
            Node::Text(text) => escape_text(out, text),
            Node::Element(child) => match prefix {
                // Children of `stream:features` or `stream:error` in the same namespace.
                Some(prefix) if child.ns == element.ns => {
                    write_prefixed(out, child, prefix, inner_ns);
                }
                _ => write_element(out, child, inner_ns),
            },
        }
    }
    out.put_slice(b"</");
    put_name(out, element, prefix);
    out.put_u8(b'>');
}
