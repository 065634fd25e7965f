//! A fingerprint of what is published, equal on all nodes and in all versions.

use std::fmt;

/// Fingerprint of a record set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub u64);

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a over lines of text: the standard library's hasher may change between releases, and nodes
/// of two releases must agree. Nobody gains from a collision: those who choose the content are us.
pub(crate) struct ContentHasher(u64);

impl ContentHasher {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to this hasher can't fail.
        let _ = fmt::write(self, format_args!("{text}\n"));
    }

    pub(crate) fn finish(&self) -> ContentHash {
        ContentHash(self.0)
    }
}

impl fmt::Write for ContentHasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vectors_of_fnv_1a() {
        for (text, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut hasher = ContentHasher::new();
            fmt::Write::write_str(&mut hasher, text).expect("it never fails");
            assert_eq!(hasher.finish().0, expected, "{text}");
        }
    }
}
