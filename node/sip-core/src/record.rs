//! How state is written for the store: a version, a kind, then fields in order.
//!
//! Numbers are LEB128, texts and bytes carry their length. Reading trusts nothing: a wrong version,
//! a length past the end, bytes left over or a text that isn't UTF-8 are refused, never a panic, and
//! nothing is allocated before its bytes are there.

use std::time::{Duration, Instant};

use thiserror::Error;

/// The longest field that is read back; a store never held a larger one.
const MAX_FIELD: usize = 1 << 20;

/// A record that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It was written by a version that this one does not know, or is something else.
    #[error("the record is of another kind or version")]
    Foreign,
    /// It ends early, has bytes left over, or a field has no meaning.
    #[error("the record is damaged")]
    Damaged,
}

/// The same moment on both clocks. The monotonic one runs timers, the wall clock goes into the store,
/// because the record is read on another node or after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock.
    pub now: Instant,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl Moment {
    /// A monotonic deadline on the wall clock.
    #[must_use]
    pub fn to_unix_ms(self, deadline: Instant) -> u64 {
        let ahead = deadline.saturating_duration_since(self.now).as_millis() as u64;
        let behind = self.now.saturating_duration_since(deadline).as_millis() as u64;
        self.unix_ms.saturating_add(ahead).saturating_sub(behind)
    }

    /// A deadline of the store on the monotonic clock; one that has passed is now, and none is further
    /// away than a year (a clock that was set wrong must not make state immortal).
    #[must_use]
    pub fn to_instant(self, unix_ms: u64) -> Instant {
        const YEAR_MS: u64 = 365 * 24 * 3_600_000;
        let ahead = unix_ms.saturating_sub(self.unix_ms).min(YEAR_MS);
        self.now + Duration::from_millis(ahead)
    }
}

/// Writes a record.
#[derive(Debug)]
pub(crate) struct RecordWriter(Vec<u8>);

impl RecordWriter {
    pub(crate) fn new(kind: u8, version: u8) -> Self {
        Self(vec![kind, version])
    }

    pub(crate) fn number(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.number(u64::from(value))
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// 0 for none, else the value and one.
    pub(crate) fn optional(&mut self, value: Option<u64>) -> &mut Self {
        match value {
            None => self.number(0),
            Some(value) => self.number(1).number(value),
        }
    }

    pub(crate) fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.number(0),
            Some(value) => self.number(1).text(value),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a record.
#[derive(Debug)]
pub(crate) struct RecordReader<'a>(&'a [u8]);

impl<'a> RecordReader<'a> {
    pub(crate) fn new(record: &'a [u8], kind: u8, version: u8) -> Result<Self, RecordError> {
        match record {
            [k, v, rest @ ..] if (*k, *v) == (kind, version) => Ok(Self(rest)),
            _ => Err(RecordError::Foreign),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, RecordError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(RecordError::Damaged)?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                return Err(RecordError::Damaged);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Damaged)
    }

    pub(crate) fn small(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.number()?).map_err(|_| RecordError::Damaged)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, RecordError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Damaged),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(self.number()?).map_err(|_| RecordError::Damaged)?;
        if length > MAX_FIELD {
            return Err(RecordError::Damaged);
        }
        let (field, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError::Damaged)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>, RecordError> {
        if self.flag()? {
            self.number().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<&'a str>, RecordError> {
        if self.flag()? {
            self.text().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Everything was read.
    pub(crate) fn finish(self) -> Result<(), RecordError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Damaged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order() {
        let mut writer = RecordWriter::new(1, 2);
        writer
            .number(0)
            .number(u64::MAX)
            .text("sip:a")
            .flag(true)
            .optional(None)
            .optional(Some(7));
        let record = writer.finish();
        let mut reader = RecordReader::new(&record, 1, 2).unwrap();
        assert_eq!(reader.number(), Ok(0));
        assert_eq!(reader.number(), Ok(u64::MAX));
        assert_eq!(reader.text(), Ok("sip:a"));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.optional(), Ok(None));
        assert_eq!(reader.optional(), Ok(Some(7)));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_record_of_another_kind_or_version_is_foreign() {
        for record in [&[][..], &[1], &[1, 3], &[2, 2]] {
            assert_eq!(
                RecordReader::new(record, 1, 2).unwrap_err(),
                RecordError::Foreign
            );
        }
    }

    #[test]
    fn lengths_and_numbers_that_lie_are_refused() {
        let read = |bytes| RecordReader(bytes).bytes().map(<[u8]>::to_vec);
        assert_eq!(read(&[5, 1, 2]), Err(RecordError::Damaged));
        assert_eq!(read(&[0xff; 12]), Err(RecordError::Damaged));
        assert_eq!(read(&[]), Err(RecordError::Damaged));
        assert_eq!(
            RecordReader(&[0xff; 10]).number(),
            Err(RecordError::Damaged)
        );
        assert_eq!(
            RecordReader(&[2, 0xc3, 0x28]).text(),
            Err(RecordError::Damaged)
        );
        assert_eq!(RecordReader(&[2]).flag(), Err(RecordError::Damaged));
        assert_eq!(RecordReader(&[0]).finish(), Err(RecordError::Damaged));
    }

    #[test]
    fn deadlines_survive_the_way_through_the_wall_clock() {
        let here = Moment {
            now: crate::testing::start() + Duration::from_secs(1000),
            unix_ms: 5_000_000,
        };
        let there = Moment {
            now: here.now + Duration::from_secs(77),
            unix_ms: 5_010_000,
        };
        let stored = here.to_unix_ms(here.now + Duration::from_secs(60));
        assert_eq!(
            there.to_instant(stored),
            there.now + Duration::from_secs(50)
        );
        assert_eq!(there.to_instant(0), there.now);
        assert_eq!(
            here.to_unix_ms(here.now - Duration::from_secs(5)),
            4_995_000
        );
    }
}
