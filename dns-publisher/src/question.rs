//! What a datagram asks, or why it gets no proper answer. Everything that arrives at the port comes
//! through here, so no count in the header is believed before it is checked.

use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Records in a question's other sections: OPT, TSIG, the SOA of IXFR. More is nonsense.
const MAX_EXTRA_RECORDS: u32 = 16;
/// The EDNS version that we speak (RFC 6891).
const EDNS_VERSION: u8 = 0;

/// A message that deserves an answer.
#[derive(Debug)]
pub(crate) struct Question {
    /// Header fields to be copied.
    pub(crate) metadata: Metadata,
    /// The question as it was asked, its case kept; absent if it could not be read.
    pub(crate) query: Option<Query>,
    /// EDNS, if the asker speaks it.
    pub(crate) edns: Option<AskerEdns>,
    /// The answer is already certain: nothing to look up.
    pub(crate) refusal: Option<ResponseCode>,
}

/// What the asker's OPT record says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskerEdns {
    /// Largest UDP answer that the asker takes.
    pub(crate) max_payload: u16,
    /// The DO bit, which an answer repeats (RFC 3225).
    pub(crate) dnssec_ok: bool,
}

impl Question {
    /// Reads a message. `None`: it must not be answered, because it is too short to have an id, or
    /// is itself an answer (or else two servers could talk to each other for ever).
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        if header.metadata.message_type == MessageType::Response {
            return None;
        }
        let mut question = Question {
            metadata: header.metadata,
            query: None,
            edns: None,
            refusal: None,
        };
        question.refusal = question.read_body(&header, &mut decoder).err();
        Some(question)
    }

    /// RFC 9619: exactly one question. Errors are the response code.
    fn read_body(
        &mut self,
        header: &Header,
        decoder: &mut BinDecoder<'_>,
    ) -> Result<(), ResponseCode> {
        let counts = &header.counts;
        let op_code = header.metadata.op_code;
        if counts.queries == 1 {
            let query = Query::read(decoder).map_err(|_| ResponseCode::FormErr)?;
            self.query = Some(query);
        }
        if op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        let extra = [counts.answers, counts.authorities, counts.additionals];
        if self.query.is_none() || extra.into_iter().map(u32::from).sum::<u32>() > MAX_EXTRA_RECORDS
        {
            return Err(ResponseCode::FormErr);
        }
        let mut records = |count: u16, additional| {
            Message::read_records(decoder, usize::from(count), additional, op_code)
                .map_err(|_| ResponseCode::FormErr)
        };
        records(counts.answers, false)?;
        records(counts.authorities, false)?;
        let (_, edns, _) = records(counts.additionals, true)?;
        match edns {
            Some(edns) => self.take_edns(&edns),
            None => Ok(()),
        }
    }

    fn take_edns(&mut self, edns: &Edns) -> Result<(), ResponseCode> {
        self.edns = Some(AskerEdns {
            max_payload: edns.max_payload(),
            dnssec_ok: edns.flags().dnssec_ok,
        });
        if edns.version() > EDNS_VERSION {
            return Err(ResponseCode::BADVERS);
        }
        Ok(())
    }
}
