//! Which servers a peer has, in the order of trying: what the locator of the core makes of a static route
//! or of DNS.

use std::net::{IpAddr, SocketAddr};

use entente_sip_core::generator::Generator;
use entente_sip_core::locate::{
    Answer, Failure, Hop, Input, LocateError, Locator, Naptr, Output, Query, Route, Srv, Target,
};
use entente_sip_core::via::Transport;

use super::failure::ConnectFailure;
use crate::config::SipPeerConfig;
use crate::net::{ResolveFault, Resolver};

/// Servers that are tried for one connection.
const MAX_SERVERS: usize = 16;

/// One server of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// A host name or an address.
    pub(super) host: String,
    pub(super) port: u16,
    /// In the order of trying.
    pub(super) addresses: Vec<SocketAddr>,
    /// An operator wrote it down.
    pub(super) written: bool,
}

impl Server {
    /// What the server is called in the handshake: its host where an operator wrote it down, otherwise
    /// the domain whose server it is (RFC 5922 section 7.1).
    pub(super) fn called<'a>(&'a self, domain: &'a str) -> &'a str {
        if self.written && self.host.parse::<IpAddr>().is_err() {
            &self.host
        } else {
            domain
        }
    }
}

/// The servers of `peer` for `domain` (A-labels); at least one.
pub(super) async fn servers(
    resolver: &Resolver,
    peer: &SipPeerConfig,
    domain: &str,
) -> Result<Vec<Server>, ConnectFailure> {
    let written = !peer.targets.is_empty();
    let mut locator = Locator::new(domain, &route(peer), Generator::new(rand::random()));
    let mut servers: Vec<Server> = Vec::new();
    while let Some(output) = locator.poll_output() {
        match output {
            Output::Request(id, query) => {
                let answer = ask(resolver, query).await;
                locator.handle_input(Input::Answer(id, answer));
            }
            Output::Try(target) => {
                // All of them are wanted, not the first that works: the trunk comes back to the others.
                enter(&mut servers, target, written);
                locator.handle_input(Input::Failed(Failure::Connection));
            }
            Output::Exhausted(_) if !servers.is_empty() => break,
            Output::Exhausted(LocateError::Dns) => return Err(ConnectFailure::Dns),
            Output::Exhausted(_) => return Err(ConnectFailure::NoSuchDomain),
        }
    }
    Ok(servers)
}

/// The addresses of all servers of `peer` for `domain` (A-labels), for whoever wants to know whether there
/// are any.
pub(crate) async fn locate(
    resolver: &Resolver,
    peer: &SipPeerConfig,
    domain: &str,
) -> Option<Vec<SocketAddr>> {
    let servers = servers(resolver, peer, domain).await.ok()?;
    Some(
        servers
            .into_iter()
            .flat_map(|server| server.addresses)
            .collect(),
    )
}

fn route(peer: &SipPeerConfig) -> Route {
    if peer.targets.is_empty() {
        return Route::Dns { plain: false };
    }
    let hops = peer.targets.iter().map(|(host, port)| Hop {
        host: host.trim_end_matches('.').to_owned(),
        port: *port,
        transport: Transport::Tls,
    });
    Route::Static(hops.collect())
}

/// Puts the addresses of one host together.
fn enter(servers: &mut Vec<Server>, target: Target, written: bool) {
    let Target { address, hop, .. } = target;
    let has_room = servers.len() < MAX_SERVERS;
    match servers.last_mut() {
        Some(last) if last.host == hop.host && last.port == hop.port => {
            last.addresses.push(address);
        }
        _ if has_room => servers.push(Server {
            host: hop.host,
            port: hop.port,
            addresses: vec![address],
            written,
        }),
        _ => {}
    }
}

async fn ask(resolver: &Resolver, query: Query) -> Answer {
    match query {
        Query::Srv(name) => answer(resolver.srv(&name).await, |records| {
            let records = records.into_iter().map(|record| Srv {
                priority: record.priority,
                weight: record.weight,
                port: record.port,
                target: record.target,
            });
            Answer::Srv(records.collect())
        }),
        Query::Naptr(name) => answer(resolver.naptr(&name).await, |records| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let records = records.into_iter().map(|record| Naptr {
                order: record.order,
                preference: record.preference,
                flags: text(&record.flags),
                service: text(&record.services),
                replacement: record.replacement,
            });
            Answer::Naptr(records.collect())
        }),
        // With a dot: no search list of this machine has a say.
        Query::Addresses(name) => answer(
            resolver.addresses(&format!("{name}."), 0).await,
            |addresses| Answer::Addresses(addresses.iter().map(SocketAddr::ip).collect()),
        ),
    }
}

fn answer<T>(
    found: Result<Vec<T>, ResolveFault>,
    records: impl FnOnce(Vec<T>) -> Answer,
) -> Answer {
    match found {
        Ok(found) => records(found),
        Err(ResolveFault::NoSuchHost) => Answer::NotFound,
        Err(ResolveFault::NoAnswer) => Answer::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::tests::peer;
    use super::*;

    fn server(host: &str, written: bool) -> Server {
        Server {
            host: host.to_owned(),
            port: 5061,
            addresses: Vec::new(),
            written,
        }
    }

    #[test]
    fn a_server_is_called_by_what_was_meant() {
        let domain = "foreign.example";
        assert_eq!(server("edge.example", false).called(domain), domain);
        assert_eq!(server("edge.example", true).called(domain), "edge.example");
        assert_eq!(server("192.0.2.7", true).called(domain), domain);
    }

    #[tokio::test]
    async fn servers_that_are_written_down_keep_their_order_and_ask_nobody() {
        let nobody = Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let mut peer = peer();
        peer.targets = vec![
            ("192.0.2.7".to_owned(), 5061),
            ("2001:db8::7".to_owned(), 5062),
        ];
        let found = servers(&nobody, &peer, "foreign.example").await.unwrap();
        let addresses: Vec<_> = found.iter().flat_map(|server| &server.addresses).collect();
        assert_eq!(
            addresses,
            [
                &"192.0.2.7:5061".parse().unwrap(),
                &"[2001:db8::7]:5062".parse::<SocketAddr>().unwrap()
            ]
        );
        assert!(found.iter().all(|server| server.written));
    }

    /// The labels of a name as they stand in a message.
    fn labels(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    /// Answers one question: SRV of Microsoft's name of `foreign.example`, and the host's address. What
    /// else is asked has no records.
    fn dns_answer(query: &[u8]) -> Vec<u8> {
        let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let (name, kind) = (&query[12..name_end], query[name_end + 1]);
        let data = match kind {
            33 if name == labels("_sipfederationtls._tcp.foreign.example") => {
                let mut data = vec![0, 10, 0, 0, 0x13, 0xc5];
                data.extend(labels("edge.foreign.example"));
                Some(data)
            }
            1 if name == labels("edge.foreign.example") => Some(vec![192, 0, 2, 7]),
            _ => None,
        };
        let mut answer = query[..2].to_vec();
        answer.extend([0x85, 0x80, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
        answer.extend_from_slice(&query[12..name_end + 4]);
        if let Some(data) = data {
            answer.extend([0xc0, 0x0c, 0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            answer.extend(data);
        }
        answer
    }

    #[tokio::test]
    async fn servers_are_found_by_dns_under_microsofts_name_too() {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = dns_answer(&query[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        let resolver = Resolver::new(&[address]).unwrap();
        let found = servers(&resolver, &peer(), "foreign.example")
            .await
            .unwrap();
        assert_eq!(
            found,
            [Server {
                host: "edge.foreign.example".to_owned(),
                port: 5061,
                addresses: vec!["192.0.2.7:5061".parse().unwrap()],
                written: false,
            }]
        );
        assert_eq!(
            servers(&resolver, &peer(), "elsewhere.example").await,
            Err(ConnectFailure::NoSuchDomain)
        );
    }
}
