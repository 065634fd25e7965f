//! Cuts a server's byte stream into its top-level elements.

use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr3, memmem};

use crate::stanza::Stanza;

/// The largest element accepted, in bytes: far above any server's own limit.
const MAX_ELEMENT: usize = 4 << 20;

/// One piece of a stream.
#[derive(Debug, Clone)]
pub enum Piece {
    /// The opening `<stream:stream …>` tag.
    Open(Stanza),
    /// A complete top-level element.
    Element(Stanza),
    /// `</stream:stream>`.
    Close,
}

/// The stream can't be cut further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Text between top-level elements, or no XML at all.
    #[error("text where an element must begin")]
    NotAnElement,
    /// An element exceeds 4 MiB.
    #[error("element above 4 MiB")]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
}

/// A resumable splitter: bytes go into its buffer, pieces come out.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    /// Bytes before this belong to the unfinished element and need no second look.
    scanned: usize,
    depth: usize,
    opened: bool,
}

enum Tag {
    Start,
    Empty,
    End,
    /// Comment, processing instruction, declaration or CDATA: no change of depth.
    Other,
}

impl Splitter {
    /// Where received bytes are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Expects a new stream header next: after STARTTLS, and after authentication. Bytes not yet
    /// taken are kept.
    pub fn restart(&mut self) {
        self.opened = false;
        self.depth = 0;
        self.scanned = 0;
    }

    /// The next complete piece, if it has arrived.
    ///
    /// # Errors
    /// When the bytes are no stream; the splitter is of no use afterwards.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, SplitError> {
        loop {
            if self.depth == 0 && self.scanned == 0 {
                let blank = self
                    .buffer
                    .iter()
                    .take_while(|b| b.is_ascii_whitespace())
                    .count();
                self.buffer.advance(blank);
                if self.buffer.first().is_some_and(|&b| b != b'<') {
                    return Err(SplitError::NotAnElement);
                }
            }
            let Some(open) = memchr(b'<', &self.buffer[self.scanned..]) else {
                self.scanned = if self.depth == 0 {
                    0
                } else {
                    self.buffer.len()
                };
                return self.incomplete();
            };
            let start = self.scanned + open;
            let Some((end, tag)) = tag_end(&self.buffer, start) else {
                self.scanned = start;
                return self.incomplete();
            };
            self.scanned = end;
            match tag {
                Tag::Other if self.depth == 0 => self.drop_scanned(),
                Tag::Other => {}
                Tag::Start if !self.opened => {
                    self.opened = true;
                    return Ok(Some(Piece::Open(self.cut()?)));
                }
                Tag::Start => self.depth += 1,
                Tag::End if self.depth == 0 => {
                    self.drop_scanned();
                    return Ok(Some(Piece::Close));
                }
                Tag::End => self.depth -= 1,
                Tag::Empty => {}
            }
            if self.depth == 0 && self.scanned > 0 {
                return Ok(Some(Piece::Element(self.cut()?)));
            }
        }
    }

    fn incomplete(&self) -> Result<Option<Piece>, SplitError> {
        if self.buffer.len() > MAX_ELEMENT {
            return Err(SplitError::TooLarge);
        }
        Ok(None)
    }

    fn drop_scanned(&mut self) {
        self.buffer.advance(self.scanned);
        self.scanned = 0;
    }

    fn cut(&mut self) -> Result<Stanza, SplitError> {
        let bytes = self.buffer.split_to(self.scanned).freeze();
        self.scanned = 0;
        Stanza::from_bytes(bytes).ok_or(SplitError::NotUtf8)
    }
}

/// Where the tag that begins at `start` ends (one past its last byte), and what it is.
fn tag_end(buffer: &[u8], start: usize) -> Option<(usize, Tag)> {
    let rest = &buffer[start..];
    if rest.len() < 2 {
        return None;
    }
    if rest[1] == b'?' {
        return memmem::find(rest, b"?>").map(|i| (start + i + 2, Tag::Other));
    }
    if rest[1] == b'!' {
        let terminator: &[u8] = match rest {
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'!', b'[', ..] => b"]]>",
            _ if rest.len() < 4 => return None,
            _ => b">",
        };
        return memmem::find(rest, terminator).map(|i| (start + i + terminator.len(), Tag::Other));
    }
    let mut at = 1;
    loop {
        let i = at + memchr3(b'>', b'"', b'\'', &rest[at..])?;
        if rest[i] == b'>' {
            let tag = match (rest[1], rest[i - 1]) {
                (b'/', _) => Tag::End,
                (_, b'/') => Tag::Empty,
                _ => Tag::Start,
            };
            return Some((start + i + 1, tag));
        }
        at = i + 1 + memchr(rest[i], &rest[i + 1..])? + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream id=\"a>b\" version='1.0'> \n\
        <message><body>1 &lt; 2 > 0</body><x a='/>'/></message><r xmlns='urn:xmpp:sm:3'/>\
        <iq><![CDATA[</iq>]]></iq></stream:stream>";

    fn shape(piece: &Piece) -> String {
        match piece {
            Piece::Open(s) => format!("open {}", s.name()),
            Piece::Element(s) => format!("element {}", s.as_str()),
            Piece::Close => "close".to_owned(),
        }
    }

    fn expected() -> Vec<String> {
        vec![
            "open stream:stream".to_owned(),
            "element <message><body>1 &lt; 2 > 0</body><x a='/>'/></message>".to_owned(),
            "element <r xmlns='urn:xmpp:sm:3'/>".to_owned(),
            "element <iq><![CDATA[</iq>]]></iq>".to_owned(),
            "close".to_owned(),
        ]
    }

    #[test]
    fn a_stream_gives_the_same_pieces_however_it_is_cut() {
        for chunk in 1..STREAM.len() {
            let mut splitter = Splitter::default();
            let mut seen = Vec::new();
            for part in STREAM.as_bytes().chunks(chunk) {
                splitter.buffer().extend_from_slice(part);
                while let Some(piece) = splitter.next_piece().unwrap() {
                    seen.push(shape(&piece));
                }
            }
            assert_eq!(seen, expected(), "chunks of {chunk}");
        }
    }

    #[test]
    fn a_restart_keeps_bytes_already_received() {
        let mut splitter = Splitter::default();
        splitter
            .buffer()
            .extend_from_slice(b"<stream:stream><success/><stream:stream><a/>");
        assert!(matches!(splitter.next_piece(), Ok(Some(Piece::Open(_)))));
        assert!(matches!(splitter.next_piece(), Ok(Some(Piece::Element(_)))));
        splitter.restart();
        assert!(matches!(splitter.next_piece(), Ok(Some(Piece::Open(_)))));
        assert!(matches!(splitter.next_piece(), Ok(Some(Piece::Element(_)))));
    }

    #[test]
    fn text_at_the_top_level_is_refused() {
        let mut splitter = Splitter::default();
        splitter.buffer().extend_from_slice(b"HTTP/1.1 400");
        assert_eq!(splitter.next_piece().unwrap_err(), SplitError::NotAnElement);
    }

    #[test]
    fn an_endless_element_is_refused() {
        let mut splitter = Splitter::default();
        splitter.buffer().extend_from_slice(b"<stream:stream><a>");
        splitter.next_piece().unwrap();
        assert!(splitter.next_piece().unwrap().is_none());
        splitter.buffer().resize(MAX_ELEMENT + 1, b'x');
        assert_eq!(splitter.next_piece().unwrap_err(), SplitError::TooLarge);
    }
}
