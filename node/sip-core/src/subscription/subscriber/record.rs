//! A subscriber in the store: who watches whom, the dialog, and the last document.

use std::sync::Arc;

use super::{Pair, Phase, Standing, Subscribed, Subscriber, SubscriberConfig};
use crate::dialog::Dialog;
use crate::name_addr::NameAddr;
use crate::owner::Owner;
use crate::record::{Moment, RecordError, RecordReader, RecordWriter};
use crate::uri::Uri;
use crate::usage::Document;

const KIND: u8 = b's';
const VERSION: u8 = 1;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscriber {
    pair: Pair,
    stopped: bool,
    standing: Standing,
    document: Option<Document>,
    dialog: Option<(Dialog, u64)>,
}

impl Subscriber {
    /// For the store.
    #[must_use]
    pub fn encode(&self, moment: Moment) -> Vec<u8> {
        let mut writer = RecordWriter::new(KIND, VERSION);
        let standing = match self.standing {
            Standing::Unknown => 0,
            Standing::Pending => 1,
            Standing::Active => 2,
        };
        writer
            .text(&self.pair.local)
            .text(&self.pair.remote)
            .text(self.pair.owner.as_str())
            .flag(matches!(self.phase, Phase::Stopped))
            .number(standing);
        writer.flag(self.document.is_some());
        if let Some(document) = &self.document {
            writer.text(&document.content_type).bytes(&document.body);
        }
        match &self.phase {
            Phase::Subscribed(subscribed) => {
                writer
                    .flag(true)
                    .bytes(&subscribed.dialog.encode())
                    .number(moment.to_unix_ms(subscribed.expires));
            }
            _ => {
                writer.flag(false);
            }
        }
        writer.finish()
    }
}

impl StoredSubscriber {
    /// What [`Subscriber::encode`] wrote.
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
        let stopped = reader.flag()?;
        let standing = match reader.number()? {
            0 => Standing::Unknown,
            1 => Standing::Pending,
            2 => Standing::Active,
            _ => return Err(RecordError::Damaged),
        };
        let mut document = None;
        if reader.flag()? {
            document = Some(Document {
                content_type: reader.text()?.into(),
                body: bytes::Bytes::copy_from_slice(reader.bytes()?),
            });
        }
        let mut dialog = None;
        if reader.flag()? {
            dialog = Some((Dialog::decode(reader.bytes()?)?, reader.number()?));
        }
        reader.finish()?;
        if NameAddr::parse(&pair.local).is_none() || Uri::parse(&pair.remote).is_err() {
            return Err(RecordError::Damaged);
        }
        Ok(Self {
            pair,
            stopped,
            standing,
            document,
            dialog,
        })
    }

    /// Who watches whom.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The last document.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// The subscriber that the record is of. It is silent until [`Subscriber::take_over`]; one that was
    /// refused for good stays so until it is asked to refresh.
    #[must_use]
    pub fn wake(self, moment: Moment, config: Arc<SubscriberConfig>, seed: [u8; 16]) -> Subscriber {
        let mut subscriber = Subscriber::idle(moment.now, config, self.pair, seed);
        subscriber.standing = self.standing;
        subscriber.document = self.document;
        if self.stopped {
            subscriber.phase = Phase::Stopped;
        }
        if let Some((dialog, expires)) = self.dialog {
            let expires = moment.to_instant(expires);
            subscriber.phase = Phase::Subscribed(Box::new(Subscribed {
                dialog,
                began: None,
                expires,
                refresh: moment.now,
                request: None,
                first_notify: None,
                asks_after_outage: false,
            }));
        }
        subscriber
    }
}
