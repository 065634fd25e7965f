//! The records in the form in which questions are answered: hash tables by lower-case wire name, one
//! for each view, made once for each publication.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA, SRV};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::name::DnsName;
use crate::network::Network;
use crate::publication::Published;
use crate::records::{Record, RecordData, RecordSet, RecordTable, View};
use crate::serial::Serial;

/// Longest name on the wire (RFC 1035 section 2.3.4).
const MAX_WIRE_NAME: usize = 255;

/// A record ready for the wire.
#[derive(Debug)]
pub(crate) struct WireRecord {
    pub(crate) ttl: u32,
    pub(crate) data: RData,
}

/// Records of one owner and type; never empty.
#[derive(Debug)]
struct RrSet {
    record_type: RecordType,
    records: Vec<WireRecord>,
}

/// What a name has; no sets: it exists only because a name below it does.
#[derive(Debug)]
struct NameEntry {
    owner: Name,
    apex: bool,
    sets: Vec<RrSet>,
}

impl NameEntry {
    fn set(&self, record_type: RecordType) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.record_type == record_type)
    }
}

type NameTable = HashMap<Box<[u8]>, NameEntry>;

/// What the lookup of a question found.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) code: ResponseCode,
    /// The AA bit: set for everything in our zones.
    pub(crate) authoritative: bool,
    /// Records whose owner is the name that was asked for.
    pub(crate) answers: Vec<&'a WireRecord>,
    /// The SOA record that says how long a negative answer holds (RFC 2308).
    pub(crate) authority: Option<(&'a Name, &'a WireRecord)>,
    /// Addresses of the hosts in the answers.
    pub(crate) additionals: Vec<(&'a Name, &'a WireRecord)>,
}

impl Findings<'_> {
    fn only(code: ResponseCode, authoritative: bool) -> Self {
        Self {
            code,
            authoritative,
            answers: Vec::new(),
            authority: None,
            additionals: Vec::new(),
        }
    }
}

/// A publication as the server uses it.
#[derive(Debug)]
pub(crate) struct ZoneIndex {
    public: NameTable,
    private: NameTable,
    private_networks: Vec<Network>,
    /// Nothing is known yet: we can't even say which zones are ours.
    unknown: bool,
    isolated: bool,
}

impl ZoneIndex {
    pub(crate) fn new(published: &Published) -> Self {
        let table = |view| match &published.records {
            Some(records) => name_table(records, records.table(view), published.serial),
            None => NameTable::new(),
        };
        let networks = published.records.as_ref().map(|r| r.private_networks());
        Self {
            public: table(View::Public),
            private: table(View::Private),
            private_networks: networks.unwrap_or_default().to_vec(),
            unknown: published.records.is_none(),
            isolated: published.isolated,
        }
    }

    /// Answers a question of class IN. `rotation` is any number that differs from one call to the
    /// next; the records of an answer begin with another one each time.
    pub(crate) fn look_up(
        &self,
        name: &Name,
        record_type: RecordType,
        asker: IpAddr,
        rotation: usize,
    ) -> Findings<'_> {
        if self.unknown {
            return Findings::only(ResponseCode::ServFail, false);
        }
        let table = self.table_for(asker);
        let mut buffer = [0; MAX_WIRE_NAME];
        let wire = lower_wire_name(name, &mut buffer);
        let Some(apex) = deepest_apex(table, wire) else {
            return Findings::only(ResponseCode::Refused, false);
        };
        if self.isolated {
            return Findings::only(ResponseCode::ServFail, false);
        }
        if is_transfer(record_type) {
            return Findings::only(ResponseCode::Refused, false);
        }
        if is_meta(record_type) {
            return Findings::only(ResponseCode::NotImp, false);
        }
        let entry = table.get(wire);
        let set = entry.and_then(|entry| match record_type {
            // RFC 8482 section 4.1: one of the sets, not all.
            RecordType::ANY => entry.sets.first(),
            _ => entry.set(record_type),
        });
        let Some(set) = set else {
            let exists = entry.is_some();
            return negative(apex, exists);
        };
        let mut findings = Findings::only(ResponseCode::NoError, true);
        let start = rotation % set.records.len();
        let (behind, front) = set.records.split_at(start);
        findings.answers.extend(front.iter().chain(behind));
        for answer in &findings.answers {
            add_addresses(table, &answer.data, &mut findings.additionals);
        }
        findings
    }

    fn table_for(&self, asker: IpAddr) -> &NameTable {
        if self.private_networks.iter().any(|n| n.contains(asker)) {
            &self.private
        } else {
            &self.public
        }
    }
}

fn negative(apex: &NameEntry, exists: bool) -> Findings<'_> {
    let code = if exists {
        ResponseCode::NoError
    } else {
        ResponseCode::NXDomain
    };
    let soa = apex
        .set(RecordType::SOA)
        .and_then(|set| set.records.first());
    Findings {
        authority: soa.map(|soa| (&apex.owner, soa)),
        ..Findings::only(code, true)
    }
}

fn add_addresses<'a>(
    table: &'a NameTable,
    data: &RData,
    additionals: &mut Vec<(&'a Name, &'a WireRecord)>,
) {
    let host = match data {
        RData::SRV(srv) => &srv.target,
        RData::NS(ns) => &ns.0,
        _ => return,
    };
    let mut buffer = [0; MAX_WIRE_NAME];
    let Some(entry) = table.get(lower_wire_name(host, &mut buffer)) else {
        return;
    };
    for record_type in [RecordType::A, RecordType::AAAA] {
        let records = entry.set(record_type).into_iter().flat_map(|s| &s.records);
        additionals.extend(records.map(|record| (&entry.owner, record)));
    }
}

/// AXFR and IXFR: transfers are refused.
fn is_transfer(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::AXFR | RecordType::IXFR)
}

/// Types that are no data (RFC 6895 section 3.1), but for ANY.
fn is_meta(record_type: RecordType) -> bool {
    let code = u16::from(record_type);
    record_type != RecordType::ANY && (code == 0 || code == 41 || (128..=255).contains(&code))
}

/// Writes the labels of `name` in lower case, each behind its length, without the root.
fn lower_wire_name<'b>(name: &Name, buffer: &'b mut [u8; MAX_WIRE_NAME]) -> &'b [u8] {
    let mut end = 0;
    for label in name.iter() {
        let Some(space) = buffer.get_mut(end..end + 1 + label.len()) else {
            break; // hickory admits no name that long
        };
        space[0] = label.len() as u8; // at most 63
        space[1..].copy_from_slice(label);
        space[1..].make_ascii_lowercase();
        end += 1 + label.len();
    }
    &buffer[..end]
}

/// The deepest of our apexes that is `wire` or above it.
fn deepest_apex<'a>(table: &'a NameTable, mut wire: &[u8]) -> Option<&'a NameEntry> {
    loop {
        if let Some(entry) = table.get(wire).filter(|entry| entry.apex) {
            return Some(entry);
        }
        let (length, rest) = wire.split_first()?;
        wire = rest.get(usize::from(*length)..)?;
    }
}

fn name_table(set: &RecordSet, records: &RecordTable, serial: Serial) -> NameTable {
    let mut table = NameTable::new();
    for zone in set.zones() {
        entry(&mut table, zone).apex = true;
    }
    for (owner, records) in records {
        let sets = &mut entry(&mut table, owner).sets;
        for record in records {
            let (record_type, record) = wire_record(record, serial);
            match sets.iter_mut().find(|s| s.record_type == record_type) {
                Some(set) => set.records.push(record),
                None => sets.push(RrSet {
                    record_type,
                    records: vec![record],
                }),
            }
        }
        add_empty_non_terminals(&mut table, set, owner);
    }
    table
}

/// The names between `owner` and its apex exist, if only as branches (RFC 8020).
fn add_empty_non_terminals(table: &mut NameTable, set: &RecordSet, owner: &DnsName) {
    let depth = |zone: &DnsName| zone.depth();
    let zones = set.zones().filter(|zone| owner.is_within(zone));
    let Some(apex) = zones.max_by_key(|zone| depth(zone)) else {
        return;
    };
    let mut name = owner.clone();
    while name != *apex {
        entry(table, &name);
        let Some(parent) = name.parent() else { break };
        name = parent;
    }
}

fn entry<'t>(table: &'t mut NameTable, name: &DnsName) -> &'t mut NameEntry {
    let owner = wire_name(name);
    let mut buffer = [0; MAX_WIRE_NAME];
    let key: Box<[u8]> = lower_wire_name(&owner, &mut buffer).into();
    table.entry(key).or_insert(NameEntry {
        owner,
        apex: false,
        sets: Vec::new(),
    })
}

fn wire_name(name: &DnsName) -> Name {
    let labels = name.labels().map(str::as_bytes);
    let mut name = Name::from_labels(labels).expect("DnsName holds the same rules of RFC 1035");
    name.set_fqdn(true);
    name
}

fn wire_record(record: &Record, serial: Serial) -> (RecordType, WireRecord) {
    let data = match &record.data {
        RecordData::Soa(soa) => RData::SOA(SOA::new(
            wire_name(&soa.mname),
            wire_name(&soa.rname),
            serial.0,
            signed(soa.refresh),
            signed(soa.retry),
            signed(soa.expire),
            soa.minimum,
        )),
        RecordData::Ns(host) => RData::NS(NS(wire_name(host))),
        RecordData::Srv {
            priority,
            weight,
            port,
            target,
        } => RData::SRV(SRV::new(*priority, *weight, *port, wire_name(target))),
        RecordData::A(address) => RData::A(A(*address)),
        RecordData::Aaaa(address) => RData::AAAA(AAAA(*address)),
    };
    let ttl = record.ttl;
    (data.record_type(), WireRecord { ttl, data })
}

fn signed(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
