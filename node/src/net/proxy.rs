//! The PROXY protocol, version 2: a load balancer says in front of the connection whom it speaks for
//! (H3). Only its binary header is read; version 1 is not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version with command, family, length.
const FIXED: usize = 16;
/// Most bytes of addresses and additional values; balancers send some hundred at most.
const MAX_REST: usize = 4096;

/// What is wrong with a header. The balancer is not what the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyFault {
    #[error("no PROXY header of version 2")]
    NotProxy,
    #[error("an unknown command")]
    Command,
    #[error("a header of more than {MAX_REST} bytes")]
    TooLong,
    #[error("a header too short for its addresses")]
    TooShort,
}

/// The fixed part of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed {
    /// The balancer speaks for itself (a health check).
    local: bool,
    family: u8,
    rest: usize,
}

impl Fixed {
    fn read(bytes: &[u8; FIXED]) -> Result<Self, ProxyFault> {
        let (signature, [version, family, high, low]) = bytes.split_at(12) else {
            return Err(ProxyFault::NotProxy);
        };
        if signature != SIGNATURE || version >> 4 != 2 {
            return Err(ProxyFault::NotProxy);
        }
        let local = match version & 0xf {
            0 => true,
            1 => false,
            _ => return Err(ProxyFault::Command),
        };
        let rest = usize::from(u16::from_be_bytes([*high, *low]));
        if rest > MAX_REST {
            return Err(ProxyFault::TooLong);
        }
        Ok(Self {
            local,
            family: *family,
            rest,
        })
    }

    /// The source that the rest names; `None` when the balancer speaks for itself, or for something
    /// without an IP address.
    fn source(self, rest: &[u8]) -> Result<Option<SocketAddr>, ProxyFault> {
        if self.local {
            return Ok(None);
        }
        // Source and destination address, then source and destination port.
        let field = |range: std::ops::Range<usize>| rest.get(range).ok_or(ProxyFault::TooShort);
        let port = |at: usize| -> Result<u16, ProxyFault> {
            let bytes = field(at..at + 2)?;
            Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        // The high half is the family, the low half the transport.
        Ok(match self.family >> 4 {
            1 => {
                let mut address = [0; 4];
                address.copy_from_slice(field(0..4)?);
                let address = IpAddr::V4(Ipv4Addr::from(address));
                Some(SocketAddr::new(address, port(8)?))
            }
            2 => {
                let mut address = [0; 16];
                address.copy_from_slice(field(0..16)?);
                let address = IpAddr::V6(Ipv6Addr::from(address));
                Some(SocketAddr::new(address, port(32)?))
            }
            _ => None,
        })
    }
}

/// Takes the header off a fresh connection and returns the true source, `None` where the balancer
/// speaks for itself. Not a byte behind the header is read.
pub(crate) async fn take_source(socket: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let bad = |fault: ProxyFault| io::Error::new(io::ErrorKind::InvalidData, fault);
    let mut fixed = [0; FIXED];
    socket.read_exact(&mut fixed).await?;
    let fixed = Fixed::read(&fixed).map_err(bad)?;
    let mut rest = vec![0; fixed.rest];
    socket.read_exact(&mut rest).await?;
    fixed.source(&rest).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u8, family: u8, rest: usize) -> [u8; FIXED] {
        let mut bytes = [0; FIXED];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12] = version;
        bytes[13] = family;
        bytes[14..].copy_from_slice(&(rest as u16).to_be_bytes());
        bytes
    }

    #[test]
    fn names_the_source_of_both_address_families() {
        let four = [
            192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x13, 0xc5, 1, 2, 3,
        ];
        let fixed = Fixed::read(&header(0x21, 0x11, four.len())).unwrap();
        assert_eq!(
            fixed.source(&four).unwrap(),
            Some("192.0.2.7:12345".parse().unwrap())
        );
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[32..34].copy_from_slice(&5061_u16.to_be_bytes());
        let fixed = Fixed::read(&header(0x21, 0x21, six.len())).unwrap();
        assert_eq!(
            fixed.source(&six).unwrap(),
            Some("[2001:db8::7]:5061".parse().unwrap())
        );
    }

    #[test]
    fn a_balancers_own_connection_names_nobody() {
        let fixed = Fixed::read(&header(0x20, 0, 0)).unwrap();
        assert_eq!(fixed.source(&[]), Ok(None));
        let unix = Fixed::read(&header(0x21, 0x31, 216)).unwrap();
        assert_eq!(unix.source(&[0; 216]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        let mut text = [0; FIXED];
        text.copy_from_slice(b"PROXY TCP4 192.0");
        assert_eq!(Fixed::read(&text), Err(ProxyFault::NotProxy));
        assert_eq!(
            Fixed::read(&header(0x11, 0x11, 12)),
            Err(ProxyFault::NotProxy)
        );
        assert_eq!(
            Fixed::read(&header(0x22, 0x11, 12)),
            Err(ProxyFault::Command)
        );
        assert_eq!(
            Fixed::read(&header(0x21, 0x11, MAX_REST + 1)),
            Err(ProxyFault::TooLong)
        );
        let short = Fixed::read(&header(0x21, 0x11, 9)).unwrap();
        assert_eq!(short.source(&[0; 9]), Err(ProxyFault::TooShort));
    }
}
