//! The sessions of a pair in the store: their dialogs, and what was answered last. The texts that wait are in the hands of
//! whoever holds them until their receipts, so they are not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::open::Open;
use super::{Answered, REMEMBERED, Session, SessionConfig};
use crate::dialog::Dialog;
use crate::name_addr::NameAddr;
use crate::owner::Owner;
use crate::profile::ImMode;
use crate::record::{Moment, RecordError, RecordReader, RecordWriter};
use crate::status::Status;
use crate::uri::Uri;
use crate::usage::Pair;

const KIND: u8 = b'i';
const VERSION: u8 = 2;

/// More than any profile allows.
const MAX_DIALOGS: u64 = 64;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pair: Pair,
    /// The one that was spoken in last at the end.
    dialogs: Vec<Dialog>,
    by_pager: bool,
    answered: VecDeque<Answered>,
}

impl Session {
    /// For the store; `None` while no session is open.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.open.is_empty() {
            return None;
        }
        let mut writer = RecordWriter::new(KIND, VERSION);
        writer
            .text(&self.pair.local)
            .text(&self.pair.remote)
            .text(self.pair.owner.as_str())
            .number(self.open.len() as u64);
        for open in self.open.iter() {
            writer.bytes(&open.dialog.encode());
        }
        writer
            .flag(self.mode == ImMode::Pager)
            .number(self.answered.len() as u64);
        for answered in &self.answered {
            writer
                .text(&answered.call_id)
                .number(answered.cseq.into())
                .number(answered.status.code().into());
        }
        Some(writer.finish())
    }
}

impl StoredSession {
    /// What [`Session::encode`] wrote.
    ///
    /// # Errors
    /// [`RecordError`] for everything else.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut reader = RecordReader::new(record, KIND, VERSION)?;
        let pair = Pair {
            local: reader.text()?.into(),
            remote: reader.text()?.into(),
            owner: Owner::new(reader.text()?).map_err(|_| RecordError::Damaged)?,
        };
        let count = reader.number()?;
        if !(1..=MAX_DIALOGS).contains(&count) {
            return Err(RecordError::Damaged);
        }
        let mut dialogs = Vec::new();
        for _ in 0..count {
            dialogs.push(Dialog::decode(reader.bytes()?)?);
        }
        let by_pager = reader.flag()?;
        let count = reader.number()?;
        if count > REMEMBERED as u64 {
            return Err(RecordError::Damaged);
        }
        let mut answered = VecDeque::new();
        for _ in 0..count {
            answered.push_back(Answered {
                call_id: reader.text()?.into(),
                cseq: reader.small()?,
                status: u16::try_from(reader.number()?)
                    .ok()
                    .and_then(Status::new)
                    .ok_or(RecordError::Damaged)?,
            });
        }
        reader.finish()?;
        if NameAddr::parse(&pair.local).is_none() || Uri::parse(&pair.remote).is_err() {
            return Err(RecordError::Damaged);
        }
        Ok(Self {
            pair,
            dialogs,
            by_pager,
            answered,
        })
    }

    /// Who talks to whom.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The sessions that the record is of, open. [`Session::take_over`] comes before it is used.
    #[must_use]
    pub fn wake(self, moment: Moment, config: Arc<SessionConfig>, seed: [u8; 16]) -> Session {
        let mut session = Session::new(config, self.pair, seed);
        if self.by_pager {
            session.mode = ImMode::Pager;
        }
        session.answered = self.answered;
        for dialog in self.dialogs {
            session.open.push(Open::confirmed(dialog, moment.now));
        }
        session
    }
}
