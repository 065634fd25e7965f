//! Writing an answer within the size that the asker takes.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_proto::rr::{DNSClass, Name};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::question::Question;
use crate::zone::{Findings, WireRecord};

/// Largest UDP answer with EDNS: what every path carries unfragmented (DNS flag day 2020).
pub(crate) const MAX_UDP: u16 = 1232;
/// Largest UDP answer without EDNS (RFC 1035 section 4.2.1).
const PLAIN_UDP: u16 = 512;
/// An OPT record without options.
const OPT_LENGTH: u16 = 11;

/// How a question came, and so how large its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    fn limit(self, question: &Question) -> u16 {
        match (self, question.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_UDP,
            (Transport::Udp, Some(edns)) => edns.max_payload.clamp(PLAIN_UDP, MAX_UDP),
        }
    }
}

/// The answer that `findings` make. `None` can happen only for what was never a valid name.
pub(crate) fn encode(
    question: &Question,
    findings: &Findings<'_>,
    transport: Transport,
) -> Option<Vec<u8>> {
    let mut metadata = reply_metadata(question, findings.code);
    metadata.authoritative = findings.authoritative;
    write(question, metadata, findings, transport).ok()
}

/// An answer of a response code alone.
pub(crate) fn encode_refusal(question: &Question, code: ResponseCode) -> Option<Vec<u8>> {
    write_empty(question, reply_metadata(question, code)).ok()
}

/// An empty answer that says 'ask again over TCP'.
pub(crate) fn encode_slip(question: &Question) -> Option<Vec<u8>> {
    let mut metadata = reply_metadata(question, ResponseCode::NoError);
    metadata.truncation = true;
    write_empty(question, metadata).ok()
}

fn reply_metadata(question: &Question, code: ResponseCode) -> Metadata {
    let mut metadata = Metadata::response_from_request(&question.metadata);
    metadata.response_code = code;
    metadata
}

fn write_empty(question: &Question, metadata: Metadata) -> Result<Vec<u8>, ProtoError> {
    let nothing = Findings {
        code: metadata.response_code,
        authoritative: false,
        answers: Vec::new(),
        authority: None,
        additionals: Vec::new(),
    };
    write(question, metadata, &nothing, Transport::Udp)
}

fn write(
    question: &Question,
    mut metadata: Metadata,
    findings: &Findings<'_>,
    transport: Transport,
) -> Result<Vec<u8>, ProtoError> {
    let limit = transport.limit(question);
    let mut message = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut message);
    // The OPT record comes last, but must never be what is cut off.
    let reserved = question.edns.map_or(0, |_| OPT_LENGTH);
    encoder.set_max_size(limit - reserved);
    let header = encoder.place::<Header>()?;
    let mut counts = HeaderCounts::default();
    if let Some(query) = &question.query {
        query.emit(&mut encoder)?;
        counts.queries = 1;
        let answers = findings.answers.iter().map(|r| (query.name(), *r));
        counts.answers = emit_while_it_fits(&mut encoder, answers)?;
    }
    counts.authorities = emit_while_it_fits(&mut encoder, findings.authority)?;
    metadata.truncation |= usize::from(counts.answers) < findings.answers.len()
        || (counts.authorities == 0 && findings.authority.is_some());
    if !metadata.truncation {
        // RFC 2181 section 9: addresses that don't fit are left out without a word.
        let additionals = findings.additionals.iter().copied();
        counts.additionals = emit_while_it_fits(&mut encoder, additionals)?;
    }
    encoder.set_max_size(limit);
    if let Some(edns) = question.edns {
        let mut reply = Edns::new();
        reply
            .set_max_payload(MAX_UDP)
            .set_dnssec_ok(edns.dnssec_ok)
            .set_rcode_high(metadata.response_code.high());
        reply.emit(&mut encoder)?;
        counts.additionals += 1;
    }
    header.replace(&mut encoder, Header { metadata, counts })?;
    Ok(message)
}

/// Writes records until one does not fit; says how many were written.
fn emit_while_it_fits<'a>(
    encoder: &mut BinEncoder<'_>,
    records: impl IntoIterator<Item = (&'a Name, &'a WireRecord)>,
) -> Result<u16, ProtoError> {
    let mut written = 0;
    for (owner, record) in records {
        let record = OwnedRecord { owner, record };
        match encoder.emit_all(std::iter::once(&record)) {
            Ok(_) => written += 1,
            Err(ProtoError::NotAllRecordsWritten { .. }) => {
                // The encoder goes back to the start of the record but keeps its octets.
                encoder.trim();
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// A record under the owner name as it was asked for: an asker that mixes upper and lower case on
/// purpose finds its own mixture, and the name compresses to a pointer.
struct OwnedRecord<'a> {
    owner: &'a Name,
    record: &'a WireRecord,
}

impl BinEncodable for OwnedRecord<'_> {
    fn emit(&self, encoder: &mut BinEncoder<'_>) -> Result<(), ProtoError> {
        self.owner.emit(encoder)?;
        self.record.data.record_type().emit(encoder)?;
        DNSClass::IN.emit(encoder)?;
        encoder.emit_u32(self.record.ttl)?;
        let place = encoder.place::<u16>()?;
        self.record.data.emit(encoder)?;
        let length = encoder.len_since_place(&place);
        let length = u16::try_from(length)
            .map_err(|_| ProtoError::MaxBufferSizeExceeded(usize::from(u16::MAX)))?;
        place.replace(encoder, length)
    }
}
