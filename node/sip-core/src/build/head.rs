//! The head of a message in the making.

use std::fmt::{Display, Write as _};

use bytes::BytesMut;

use crate::build::BuildFault;
use crate::grammar::{is_token, is_value, unfold};
use crate::header::HeaderName;
use crate::message::{Headers, Limits, Message};

/// Room for a usual message, so that the buffer grows seldom.
const USUAL_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Head {
    buffer: BytesMut,
    fault: Option<BuildFault>,
}

impl Head {
    /// Starts with a line that holds no line end.
    pub(super) fn new(start_line: impl Display) -> Self {
        let mut head = Self {
            buffer: BytesMut::with_capacity(USUAL_BYTES),
            fault: None,
        };
        head.checked(HeaderName::Other, &start_line);
        head.end_line();
        head
    }

    pub(super) fn header(&mut self, name: HeaderName, value: impl Display) {
        debug_assert_ne!(name, HeaderName::Other, "a header without name");
        self.named(name.as_str());
        self.checked(name, &value);
        self.end_line();
    }

    pub(super) fn raw_header(&mut self, name: &str, value: impl Display) {
        if !is_token(name) {
            return self.blame(BuildFault::HeaderName);
        }
        self.named(name);
        self.checked(HeaderName::Other, &value);
        self.end_line();
    }

    /// A value that was read from a message: a fold in it becomes a space, everything else stays,
    /// control characters that are escaped in a quoted string too.
    pub(super) fn parsed(&mut self, name: HeaderName, value: &str) {
        let value = unfold(value);
        if !is_value(&value) || value.contains(['\r', '\n']) {
            self.blame(BuildFault::ControlCharacter(name));
        }
        self.line(name, &value);
    }

    /// All lines of the name, their values byte for byte. Folds stay; a value with anything else that
    /// does not belong there (of a damaged request) is left out.
    pub(super) fn copy(&mut self, from: &Headers, name: HeaderName) {
        for value in from.lines(name).filter(|value| is_value(value)) {
            self.line(name, value);
        }
    }

    /// A To as it was read, with a tag behind it.
    pub(super) fn copy_tagged(&mut self, to: &str, tag: &str) {
        if is_value(to) {
            self.line(HeaderName::To, &format!("{to};tag={tag}"));
        }
    }

    /// Ends the head and adds the body.
    pub(super) fn finish(mut self, body: &[u8]) -> Result<Message, BuildFault> {
        self.header(HeaderName::ContentLength, body.len());
        self.end_line();
        self.buffer.extend_from_slice(body);
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        Message::parse(self.buffer.freeze(), &Limits::TRUSTED).map_err(|_| BuildFault::NotAMessage)
    }

    fn blame(&mut self, fault: BuildFault) {
        self.fault.get_or_insert(fault);
    }

    fn line(&mut self, name: HeaderName, value: &str) {
        self.named(name.as_str());
        self.buffer.extend_from_slice(value.as_bytes());
        self.end_line();
    }

    fn named(&mut self, name: &str) {
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b": ");
    }

    fn checked(&mut self, name: HeaderName, value: &dyn Display) {
        let start = self.buffer.len();
        write!(self.buffer, "{value}").expect("writing to a buffer succeeds");
        let written = &self.buffer[start..];
        if written
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            self.blame(BuildFault::ControlCharacter(name));
        }
    }

    fn end_line(&mut self) {
        self.buffer.extend_from_slice(b"\r\n");
    }
}
