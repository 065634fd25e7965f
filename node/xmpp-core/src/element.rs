//! Small owned trees for the control plane: rosters, SASL, features, discovery. Messages and presence
//! stay bytes ([`Stanza`](crate::stanza::Stanza)).

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::ns;
use crate::xml::{Limits, RootScope, XmlFault};

mod parse;
mod write;

pub(crate) use write::{write_element, write_prefixed};

/// One node below an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// Character data, references resolved.
    Text(String),
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// Namespace of a prefixed attribute.
    ns: Option<Cow<'static, str>>,
    name: Cow<'static, str>,
    value: Cow<'static, str>,
}

impl Attr {
    /// The namespace; unprefixed attributes have none.
    #[must_use]
    pub fn ns(&self) -> Option<&str> {
        self.ns.as_deref()
    }

    /// The local name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, references resolved.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// An element with its namespace, attributes and children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    ns: Cow<'static, str>,
    name: Cow<'static, str>,
    attrs: Vec<Attr>,
    children: Vec<Node>,
}

impl Element {
    /// An empty element.
    #[must_use]
    pub fn new(ns: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            ns: ns.into(),
            name: name.into(),
            attrs: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Reads exactly one element. `default_ns` is the namespace of names without a prefix where the
    /// element stands.
    ///
    /// # Errors
    /// Whatever breaks XML, RFC 6120 section 11 or the limits.
    pub fn parse(bytes: &[u8], default_ns: &str, limits: &Limits) -> Result<Self, XmlFault> {
        parse::element(bytes, &RootScope::with_default(default_ns), limits)
    }

    /// Like [`Element::parse`], with prefixes that are declared outside.
    pub(crate) fn parse_in(
        bytes: &[u8],
        scope: &RootScope,
        limits: &Limits,
    ) -> Result<Self, XmlFault> {
        parse::element(bytes, scope, limits)
    }

    /// The namespace.
    #[must_use]
    pub fn ns(&self) -> &str {
        &self.ns
    }

    /// The local name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is `name` in `ns`.
    #[must_use]
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// Adds an attribute, for chains. See [`Element::set_attr`].
    #[must_use]
    pub fn attr(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.set_attr(name, value);
        self
    }

    /// Adds an attribute if there is a value, for chains.
    #[must_use]
    pub fn attr_opt(
        self,
        name: impl Into<Cow<'static, str>>,
        value: Option<impl Into<Cow<'static, str>>>,
    ) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Adds a child, for chains.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// Adds children, for chains.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children
            .extend(children.into_iter().map(Node::Element));
        self
    }

    /// Adds text, for chains.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.push_text(text);
        self
    }

    /// Sets an attribute without namespace, or one with the prefix `xml:` (`xml:lang`).
    pub fn set_attr(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) {
        let (ns, name) = split_xml_prefix(name.into());
        let value = value.into();
        match self
            .attrs
            .iter_mut()
            .find(|attr| attr.ns == ns && attr.name == name)
        {
            Some(attr) => attr.value = value,
            None => self.attrs.push(Attr { ns, name, value }),
        }
    }

    /// Removes an attribute (without namespace, or with the prefix `xml:`).
    pub fn remove_attr(&mut self, name: &'static str) {
        let (ns, name) = split_xml_prefix(Cow::Borrowed(name));
        self.attrs.retain(|attr| attr.ns != ns || attr.name != name);
    }

    /// Adds a child.
    pub fn push(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }

    /// Adds text.
    pub fn push_text(&mut self, text: impl Into<String>) {
        let text = text.into();
        match self.children.last_mut() {
            Some(Node::Text(last)) => last.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.children.push(Node::Text(text)),
        }
    }

    /// The value of an attribute without namespace, or of one with the prefix `xml:`.
    #[must_use]
    pub fn get_attr(&self, name: &str) -> Option<&str> {
        let (ns, name) = match name.strip_prefix("xml:") {
            Some(name) => (Some(ns::XML), name),
            None => (None, name),
        };
        self.attrs
            .iter()
            .find(|attr| attr.name == name && attr.ns.as_deref() == ns)
            .map(|attr| attr.value.as_ref())
    }

    /// All attributes, declarations of namespaces left out.
    #[must_use]
    pub fn attrs(&self) -> &[Attr] {
        &self.attrs
    }

    /// Everything below the element, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.children
    }

    /// The child elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child `name` in `ns`.
    #[must_use]
    pub fn get_child(&self, ns: &str, name: &str) -> Option<&Element> {
        self.elements().find(|child| child.is(ns, name))
    }

    /// Whether there is a child `name` in `ns`.
    #[must_use]
    pub fn has_child(&self, ns: &str, name: &str) -> bool {
        self.get_child(ns, name).is_some()
    }

    /// The first child element.
    #[must_use]
    pub fn first_child(&self) -> Option<&Element> {
        self.elements().next()
    }

    /// The text directly below the element.
    #[must_use]
    pub fn content_text(&self) -> Cow<'_, str> {
        match self.children.as_slice() {
            [] => Cow::Borrowed(""),
            [Node::Text(text)] => Cow::Borrowed(text),
            nodes => Cow::Owned(
                nodes
                    .iter()
                    .filter_map(|node| match node {
                        Node::Text(text) => Some(text.as_str()),
                        Node::Element(_) => None,
                    })
                    .collect(),
            ),
        }
    }

    /// Appends the element as XML. Namespaces that differ from `default_ns`, the default where it will
    /// stand, are declared.
    pub fn write(&self, out: &mut BytesMut, default_ns: &str) {
        write_element(out, self, default_ns);
    }

    /// The element as XML; see [`Element::write`].
    #[must_use]
    pub fn to_bytes(&self, default_ns: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        self.write(&mut out, default_ns);
        out.freeze()
    }
}

/// The element as XML that stands alone.
impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes("")))
    }
}

fn split_xml_prefix(name: Cow<'static, str>) -> (Option<Cow<'static, str>>, Cow<'static, str>) {
    match name.strip_prefix("xml:") {
        Some(local) => (
            Some(Cow::Borrowed(ns::XML)),
            if local == "lang" {
                Cow::Borrowed("lang")
            } else {
                Cow::Owned(local.to_owned())
            },
        ),
        None => (None, name),
    }
}

#[cfg(test)]
mod tests;
