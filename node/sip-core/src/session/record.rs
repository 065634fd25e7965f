//! A session in the store: the dialog, and what was answered last. The texts that wait are in the hands of
//! whoever holds them until their receipts, so they are not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Answered, Line, Open, REMEMBERED, Session, SessionConfig};
use crate::dialog::Dialog;
use crate::name_addr::NameAddr;
use crate::owner::Owner;
use crate::profile::ImMode;
use crate::record::{Moment, RecordError, RecordReader, RecordWriter};
use crate::status::Status;
use crate::uri::Uri;
use crate::usage::Pair;

const KIND: u8 = b'i';
const VERSION: u8 = 1;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pair: Pair,
    dialog: Dialog,
    by_pager: bool,
    answered: VecDeque<Answered>,
}

impl Session {
    /// For the store; `None` while no session is open.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let Line::Open(open) = &self.line else {
            return None;
        };
        let mut writer = RecordWriter::new(KIND, VERSION);
        writer
            .text(&self.pair.local)
            .text(&self.pair.remote)
            .text(self.pair.owner.as_str())
            .bytes(&open.dialog.encode())
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
        let dialog = Dialog::decode(reader.bytes()?)?;
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
            dialog,
            by_pager,
            answered,
        })
    }

    /// Who talks to whom.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The session that the record is of, open. [`Session::take_over`] comes before it is used.
    #[must_use]
    pub fn wake(self, moment: Moment, config: Arc<SessionConfig>, seed: [u8; 16]) -> Session {
        let mut session = Session::new(moment.now, config, self.pair, seed);
        if self.by_pager {
            session.mode = ImMode::Pager;
        }
        session.answered = self.answered;
        session.line = Line::Open(Box::new(Open {
            dialog: self.dialog,
            invited: None,
            unacked: None,
            confirmed: true,
        }));
        session
    }
}
