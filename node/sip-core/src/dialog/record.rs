//! A dialog in the store.

use super::{Dialog, MAX_CSEQ, MAX_ROUTES, Party};
use crate::name_addr::NameAddr;
use crate::record::{RecordError, RecordReader, RecordWriter};
use crate::uri::Uri;

const KIND: u8 = b'd';
const VERSION: u8 = 1;

impl Dialog {
    /// For the store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = RecordWriter::new(KIND, VERSION);
        writer
            .flag(self.early)
            .text(&self.call_id)
            .text(&self.local.address)
            .text(&self.local.tag)
            .text(&self.remote.address)
            .text(&self.remote.tag)
            .number(u64::from(self.local_cseq))
            .optional(self.remote_cseq.map(u64::from))
            .text(&self.target)
            .number(self.routes.len() as u64);
        for route in &self.routes {
            writer.text(route);
        }
        writer.finish()
    }

    /// What [`encode`](Self::encode) wrote. Not yet taken over.
    ///
    /// # Errors
    /// [`RecordError`] for everything else: what is used to build requests is checked again.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut reader = RecordReader::new(record, KIND, VERSION)?;
        let early = reader.flag()?;
        let call_id = reader.text()?;
        let local = Self::party(&mut reader)?;
        let remote = Self::party(&mut reader)?;
        let local_cseq = reader.small()?;
        let remote_cseq = match reader.optional()? {
            None => None,
            Some(number) => Some(u32::try_from(number).map_err(|_| RecordError::Damaged)?),
        };
        let target = reader.text()?;
        let count = reader.number()?;
        if count > MAX_ROUTES as u64 {
            return Err(RecordError::Damaged);
        }
        let mut routes = Vec::new();
        for _ in 0..count {
            let route = reader.text()?;
            NameAddr::parse(route).ok_or(RecordError::Damaged)?;
            routes.push(route.into());
        }
        reader.finish()?;
        let sound = !call_id.is_empty()
            && !local.tag.is_empty()
            && local_cseq <= MAX_CSEQ
            && Uri::parse(target).is_ok();
        if !sound {
            return Err(RecordError::Damaged);
        }
        Ok(Self {
            early,
            call_id: call_id.into(),
            local,
            remote,
            local_cseq,
            remote_cseq,
            target: target.into(),
            routes: routes.into(),
        })
    }

    fn party(reader: &mut RecordReader<'_>) -> Result<Party, RecordError> {
        let address = reader.text()?;
        let tag = reader.text()?;
        NameAddr::parse(address).ok_or(RecordError::Damaged)?;
        Ok(Party {
            address: address.into(),
            tag: tag.into(),
        })
    }
}
