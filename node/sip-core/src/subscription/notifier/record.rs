//! A notifier in the store. Its document is not: the new owner knows the presentity's state itself.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Notifier, NotifierConfig, Reason, Standing};
use crate::dialog::Dialog;
use crate::record::{Moment, RecordError, RecordReader, RecordWriter};
use crate::usage::Document;

const KIND: u8 = b'n';
const VERSION: u8 = 1;

/// Where the numbers of standings go over into those of reasons.
const REASONS_FROM: u64 = 3;

/// A record that was read: what the caller must know to choose the document.
#[derive(Debug)]
pub struct StoredNotifier {
    dialog: Dialog,
    event_id: Option<Box<str>>,
    standing: Standing,
    expires_unix_ms: u64,
}

impl Notifier {
    /// For the store.
    #[must_use]
    pub fn encode(&self, moment: Moment) -> Vec<u8> {
        let mut writer = RecordWriter::new(KIND, VERSION);
        let standing = match self.standing {
            Standing::Pending => 0,
            Standing::Active => 1,
            Standing::Polite => 2,
            Standing::Terminated(reason) => REASONS_FROM + reason as u64,
            // Not kept; read again, the watcher would hear of it once more.
            Standing::Ended => REASONS_FROM + Reason::Timeout as u64,
        };
        writer
            .bytes(&self.dialog.encode())
            .optional_text(self.event_id.as_deref())
            .number(standing)
            .number(moment.to_unix_ms(self.expires));
        writer.finish()
    }
}

impl StoredNotifier {
    /// What [`Notifier::encode`] wrote.
    ///
    /// # Errors
    /// [`RecordError`] for everything else.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut reader = RecordReader::new(record, KIND, VERSION)?;
        let dialog = Dialog::decode(reader.bytes()?)?;
        let event_id = reader.optional_text()?.map(Into::into);
        let standing = match reader.number()? {
            0 => Standing::Pending,
            1 => Standing::Active,
            2 => Standing::Polite,
            number => Standing::Terminated(reason(number)?),
        };
        let expires_unix_ms = reader.number()?;
        reader.finish()?;
        Ok(Self {
            dialog,
            event_id,
            standing,
            expires_unix_ms,
        })
    }

    /// Whether the watcher is blocked politely: its document is then the one that says offline.
    #[must_use]
    pub fn is_polite(&self) -> bool {
        self.standing == Standing::Polite
    }

    /// The dialog, which names watcher and presentity.
    #[must_use]
    pub fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// The notifier that the record is of, with what the watcher sees from now on (a pending watcher
    /// sees nothing). It is silent until [`Notifier::take_over`]; one that has run out ends then.
    #[must_use]
    pub fn wake(self, moment: Moment, config: Arc<NotifierConfig>, document: Document) -> Notifier {
        Notifier {
            config,
            dialog: self.dialog,
            event_id: self.event_id,
            standing: self.standing,
            document: matches!(self.standing, Standing::Active | Standing::Polite)
                .then_some(document),
            expires: moment.to_instant(self.expires_unix_ms),
            due: false,
            not_before: moment.now,
            on_its_way: None,
            sent: 0,
            failures: 0,
            unreached: 0,
            outputs: VecDeque::new(),
        }
    }
}

fn reason(standing: u64) -> Result<Reason, RecordError> {
    [
        Reason::Deactivated,
        Reason::Rejected,
        Reason::Timeout,
        Reason::GiveUp,
        Reason::NoResource,
    ]
    .into_iter()
    .find(|reason| REASONS_FROM + *reason as u64 == standing)
    .ok_or(RecordError::Damaged)
}
