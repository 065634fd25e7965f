//! Finding a peer's servers (RFC 3263, and Microsoft's `_sipfederationtls._tcp`).
//!
//! A [`Locator`] belongs to one attempt to reach one peer. It asks for records as it needs them and
//! offers one target after the other: configured hosts, or else what
//! `_sipfederationtls._tcp`, NAPTR, `_sips._tcp` and at last the domain's own addresses at port 5061
//! give. The first of these that has records decides. After a [`Failure`] the next target comes, in the
//! order of RFC 2782.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::generator::Generator;
use crate::grammar::is_host_name;
use crate::uri::{Host, Uri};
use crate::via::Transport;

mod contract;
mod order;
mod records;

pub use contract::{Failure, Hop, Input, LocateError, Output, QueryId, Route, Target};
use order::by_weight;
pub use records::{Answer, Naptr, Query, Srv};

/// The port of SIP over TLS.
pub const TLS_PORT: u16 = 5061;
/// The port of SIP over plain TCP.
pub const TCP_PORT: u16 = 5060;

/// Most records of one answer that are looked at.
pub const MAX_RECORDS: usize = 32;
/// Most addresses of one host that are tried.
pub const MAX_ADDRESSES: usize = 8;

/// See the module's words.
#[derive(Debug)]
pub struct Locator {
    domain: String,
    plain: bool,
    random: Generator,
    /// Where records may be, the most wanted first.
    steps: VecDeque<Step>,
    /// Hosts that records or configuration gave, in order.
    hops: VecDeque<Hop>,
    /// Of the host at hand, those not tried.
    addresses: VecDeque<IpAddr>,
    at_hand: Option<Hop>,
    asked: Option<(QueryId, Step)>,
    next_id: u32,
    /// SRV records were there: the domain's own addresses mean nothing then (RFC 3263 section 4.2).
    has_records: bool,
    offered: bool,
    dns_failed: bool,
    output: Option<Output>,
    done: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Srv(String, Transport),
    Naptr,
    /// The domain itself.
    Domain,
    /// The addresses of a host.
    Addresses(Hop),
}

impl Locator {
    /// For a peer's domain.
    #[must_use]
    pub fn new(domain: &str, route: &Route, random: Generator) -> Self {
        let (hops, steps, plain) = match route {
            Route::Static(hops) => (hops.clone(), Vec::new(), false),
            Route::Dns { plain } => (Vec::new(), dns_steps(domain, *plain), *plain),
        };
        Self::with(domain, hops, steps, plain, random)
    }

    /// For the next hop of a request that a route set or remote target names (RFC 3263 section 4.2):
    /// an address or a port in the URI leaves nothing to SRV. `None` if the URI has no host.
    #[must_use]
    pub fn for_uri(uri: &Uri, plain: bool, random: Generator) -> Option<Self> {
        let transport = match uri.param("transport") {
            Some(name) if !name.eq_ignore_ascii_case("tls") && plain => Transport::Tcp,
            _ => Transport::Tls,
        };
        let default_port = match transport {
            Transport::Tcp => TCP_PORT,
            _ => TLS_PORT,
        };
        let (host, is_address) = match uri.host()? {
            Host::Name(name) => (name.trim_end_matches('.').to_owned(), false),
            Host::Address(address) => (address.to_string(), true),
        };
        let (hops, steps) = match uri.port() {
            None if !is_address => (Vec::new(), dns_steps(&host, plain)),
            port => {
                let hop = Hop {
                    host: host.clone(),
                    port: port.unwrap_or(default_port),
                    transport,
                };
                (vec![hop], Vec::new())
            }
        };
        Some(Self::with(&host, hops, steps, plain, random))
    }

    fn with(
        domain: &str,
        hops: Vec<Hop>,
        steps: Vec<Step>,
        plain: bool,
        random: Generator,
    ) -> Self {
        let mut locator = Self {
            domain: domain.trim_end_matches('.').to_ascii_lowercase(),
            plain,
            random,
            steps: steps.into(),
            has_records: !hops.is_empty(),
            hops: hops.into(),
            addresses: VecDeque::new(),
            at_hand: None,
            asked: None,
            next_id: 0,
            offered: false,
            dns_failed: false,
            output: None,
            done: false,
        };
        locator.advance();
        locator
    }

    /// Takes an answer or a failure. An answer to no open query, and a failure while none was offered,
    /// change nothing.
    pub fn handle_input(&mut self, input: Input) {
        match input {
            Input::Answer(id, answer) => {
                if self.asked.as_ref().is_some_and(|(asked, _)| *asked == id) {
                    let (_, step) = self.asked.take().expect("was just seen");
                    self.answered(step, answer);
                    self.advance();
                }
            }
            Input::Failed(failure) => {
                if self.asked.is_none() && self.output.is_none() && !self.done {
                    // Another address of a server that answers 503, or not at all, is the same server.
                    if failure != Failure::Connection {
                        self.addresses.clear();
                    }
                    self.advance();
                }
            }
        }
    }

    /// The next thing to do; `None` until there is a further input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.take()
    }

    fn answered(&mut self, step: Step, answer: Answer) {
        if answer == Answer::Failed {
            self.dns_failed = true;
        }
        match (step, answer) {
            (Step::Srv(_, transport), Answer::Srv(records)) => self.take_srv(transport, records),
            (Step::Naptr, Answer::Naptr(records)) => self.take_naptr(records),
            (Step::Addresses(hop), Answer::Addresses(addresses)) => {
                self.addresses = addresses.into_iter().take(MAX_ADDRESSES).collect();
                self.at_hand = Some(hop);
            }
            // Nothing there, no answer, or an answer to something else.
            _ => {}
        }
    }

    fn take_srv(&mut self, transport: Transport, mut records: Vec<Srv>) {
        records.truncate(MAX_RECORDS);
        self.has_records |= !records.is_empty();
        for record in by_weight(records, &mut self.random) {
            let host = record.target.trim_end_matches('.').to_ascii_lowercase();
            // A lone dot says that there is no such service (RFC 2782).
            if is_host_name(&host) && record.port != 0 {
                self.hops.push_back(Hop {
                    host,
                    port: record.port,
                    transport,
                });
            }
        }
    }

    /// Puts the SRV names of NAPTR before the usual ones (RFC 3263 section 4.1).
    fn take_naptr(&mut self, mut records: Vec<Naptr>) {
        records.truncate(MAX_RECORDS);
        records.sort_by_key(|record| (record.order, record.preference));
        let mut names: Vec<Step> = Vec::new();
        for record in records {
            let transport = match record.service.to_ascii_uppercase().as_str() {
                "SIPS+D2T" => Transport::Tls,
                "SIP+D2T" if self.plain => Transport::Tcp,
                _ => continue,
            };
            let name = record.replacement.trim_end_matches('.');
            if record.flags.eq_ignore_ascii_case("s") && is_host_name(name) {
                names.push(Step::Srv(name.to_ascii_lowercase(), transport));
            }
        }
        for name in names.into_iter().rev() {
            self.steps.retain(|step| *step != name);
            self.steps.push_front(name);
        }
    }

    /// Goes on until there is something to say.
    fn advance(&mut self) {
        if self.done {
            return;
        }
        loop {
            if let (Some(address), Some(hop)) = (self.addresses.pop_front(), &self.at_hand) {
                let hop = hop.clone();
                return self.offer(address, hop);
            }
            if let Some(hop) = self.hops.pop_front() {
                match hop.host.parse::<IpAddr>() {
                    Ok(address) => return self.offer(address, hop),
                    Err(_) => {
                        let query = Query::Addresses(hop.host.clone());
                        return self.ask(Step::Addresses(hop), query);
                    }
                }
            }
            let step = match self.has_records {
                true => None,
                false => self.steps.pop_front(),
            };
            match step {
                Some(Step::Srv(name, transport)) => {
                    return self.ask(Step::Srv(name.clone(), transport), Query::Srv(name));
                }
                Some(Step::Naptr) => {
                    return self.ask(Step::Naptr, Query::Naptr(self.domain.clone()));
                }
                Some(Step::Domain) => self.hops.push_back(Hop {
                    host: self.domain.clone(),
                    port: TLS_PORT,
                    transport: Transport::Tls,
                }),
                Some(Step::Addresses(hop)) => self.hops.push_back(hop),
                None => return self.exhaust(),
            }
        }
    }

    fn ask(&mut self, step: Step, query: Query) {
        let id = QueryId(self.next_id);
        self.next_id += 1;
        self.asked = Some((id, step));
        self.output = Some(Output::Request(id, query));
    }

    fn offer(&mut self, address: IpAddr, hop: Hop) {
        self.offered = true;
        self.output = Some(Output::Try(Target {
            address: SocketAddr::new(address, hop.port),
            hop,
            domain: self.domain.clone(),
        }));
    }

    fn exhaust(&mut self) {
        self.done = true;
        self.output = Some(Output::Exhausted(match (self.offered, self.dns_failed) {
            (true, _) => LocateError::Unreachable,
            (false, true) => LocateError::Dns,
            (false, false) => LocateError::NoServer,
        }));
    }
}

fn dns_steps(domain: &str, plain: bool) -> Vec<Step> {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    if domain.parse::<IpAddr>().is_ok() {
        return vec![Step::Domain];
    }
    let srv = |service: &str, transport| Step::Srv(format!("{service}.{domain}"), transport);
    let mut steps = vec![
        srv("_sipfederationtls._tcp", Transport::Tls),
        Step::Naptr,
        srv("_sips._tcp", Transport::Tls),
    ];
    if plain {
        steps.push(srv("_sip._tcp", Transport::Tcp));
    }
    steps.push(Step::Domain);
    steps
}

#[cfg(test)]
mod tests;
