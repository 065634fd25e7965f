//! Namespaces that the stream root declares, in scope for every first-level element.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::ns;

/// The default namespace and the prefixes around an element.
#[derive(Debug, Clone, Default)]
pub(crate) struct RootScope {
    pub(super) default: Cow<'static, str>,
    pub(super) prefixes: SmallVec<[(Cow<'static, str>, Cow<'static, str>); 2]>,
}

impl RootScope {
    /// A scope with a default namespace and no prefixes.
    pub(crate) fn with_default(default: &str) -> Self {
        Self {
            default: intern(default),
            prefixes: SmallVec::new(),
        }
    }

    pub(crate) fn declare(&mut self, prefix: &str, uri: &str) {
        self.prefixes.push((intern(prefix), intern(uri)));
    }

    pub(crate) fn default_ns(&self) -> &str {
        &self.default
    }

    /// The default namespace, shared where it is a constant.
    pub(crate) fn default_name(&self) -> Cow<'static, str> {
        self.default.clone()
    }

    /// The index and the name of the namespace behind a prefix.
    pub(super) fn find(&self, prefix: &[u8]) -> Option<(usize, &str)> {
        self.prefixes
            .iter()
            .enumerate()
            .find(|(_, (known, _))| known.as_bytes() == prefix)
            .map(|(index, (_, uri))| (index, uri.as_ref()))
    }

    pub(crate) fn declaration(&self, index: usize) -> (&str, &str) {
        let (prefix, uri) = &self.prefixes[index];
        (prefix, uri)
    }
}

/// Keeps what nearly every stream declares off the heap: it stays for the life of a session.
fn intern(text: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 6] = [
        ns::CLIENT,
        ns::SERVER,
        ns::STREAM,
        ns::DIALBACK,
        "stream",
        "db",
    ];
    match KNOWN.into_iter().find(|known| *known == text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text.to_owned()),
    }
}
