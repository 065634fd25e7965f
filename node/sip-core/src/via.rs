//! `Via`.

use std::fmt;
use std::net::IpAddr;

use crate::grammar::{is_lws, is_token, is_value, number, trim, trim_start};
use crate::params::Params;
use crate::text::{Span, Text};
use crate::uri::{Host, split_host_port};

/// What every branch since RFC 3261 begins with.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// The transport of a Via or a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// Anything else.
    Other,
}

impl Transport {
    /// As it stands in a Via; empty for [`Transport::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Other => "",
        }
    }

    /// The transport of this name, in any case.
    #[must_use]
    pub fn of(name: &str) -> Self {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .unwrap_or(Self::Other)
    }

    /// Whether it keeps messages whole and in order.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

/// One hop (RFC 3261 section 20.42), with its bytes.
#[derive(Clone)]
pub struct Via {
    text: Text,
    transport: Transport,
    port: Option<u16>,
    transport_name: Span,
    host: Span,
    params: Span,
}

impl Via {
    /// Reads one element; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_value(text).then_some(())?;
        Self::from_text(Text::from(trim(text)))
    }

    /// Like [`Via::parse`], of a checked head and sharing its memory.
    pub(crate) fn from_text(text: Text) -> Option<Self> {
        let whole = text.as_str();
        let at = |part: &str| {
            let start = part.as_ptr() as usize - whole.as_ptr() as usize;
            Span::new(start, start + part.len())
        };
        let (name, rest) = whole.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        let rest = trim_start(rest);
        let (transport, rest) = rest.split_at(rest.bytes().position(is_lws)?);
        if ![trim(name), trim(version), transport]
            .into_iter()
            .all(is_token)
        {
            return None;
        }
        let end = memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(end);
        let (host, port) = split_host_port(trim(sent_by))?;
        crate::uri::is_host(host).then_some(())?;
        let transport_name = at(transport)?;
        let host = at(host)?;
        let params = at(Params::header(params)?.as_str())?;
        Some(Self {
            transport: Transport::of(transport),
            transport_name,
            host,
            params,
            port,
            text,
        })
    }

    /// `SIP/2.0/transport host[:port];branch=`, with `;rport` on datagrams and `;alias` on streams
    /// (RFC 3581, RFC 5923).
    ///
    /// # Panics
    /// If host or branch break the grammar: both are ours.
    #[must_use]
    pub fn new(transport: Transport, host: &str, port: Option<u16>, branch: &str) -> Self {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let flag = match transport {
            Transport::Udp => ";rport",
            _ => ";alias",
        };
        let name = transport.as_str();
        Self::parse(&format!(
            "SIP/2.0/{name} {host}{port};branch={branch}{flag}"
        ))
        .expect("our own host and branch")
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The transport as written.
    #[must_use]
    pub fn transport_str(&self) -> &str {
        self.text.span(self.transport_name)
    }

    /// The host of sent-by as written.
    #[must_use]
    pub fn host_str(&self) -> &str {
        self.text.span(self.host)
    }

    /// The host of sent-by.
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        crate::uri::host_of(self.host_str()).expect("was checked when it was read")
    }

    /// The port of sent-by, if written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params::checked(self.text.span(self.params))
    }

    /// The branch as written.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params().get("branch")
    }

    /// The branch, if it begins with the magic cookie and has something behind it: only then it
    /// names the transaction (RFC 3261 section 17.2.3).
    #[must_use]
    pub fn unique_branch(&self) -> Option<&str> {
        let branch = self.branch()?;
        let cookie = branch.get(..MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && branch.len() > cookie.len()).then_some(branch)
    }

    /// Whether the branch is the cookie and nothing else.
    pub(crate) fn is_bare_cookie(&self) -> bool {
        self.branch()
            .is_some_and(|branch| branch.eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// Where the request came from, as the next hop saw it. IPv6 with or without brackets (RFC 5118
    /// section 4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let value = self.params().get("received")?;
        let value = value
            .strip_prefix('[')
            .and_then(|value| value.strip_suffix(']'))
            .unwrap_or(value);
        value.parse().ok()
    }

    /// `None`: not asked for; `Some(None)`: asked for; `Some(port)`: filled in (RFC 3581).
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        let param = self.params().find("rport")?;
        Some(
            param
                .value
                .and_then(number)
                .and_then(|port| u16::try_from(port).ok()),
        )
    }

    /// Whether the sender takes requests on the connection that this came by (RFC 5923).
    #[must_use]
    pub fn has_alias(&self) -> bool {
        self.params().has("alias")
    }

    /// The same in memory of its own, for what is kept.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self {
            text: self.text.unshared(),
            ..self.clone()
        }
    }
}

impl PartialEq for Via {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Via {}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Transport, Via};
    use crate::uri::Host;

    #[test]
    fn all_of_a_via_is_read() {
        let via = Via::parse(
            "SIP / 2.0 / tls [2001:db8::1] : 5061 ;branch=z9hG4bKx.1; rport=40000;received=192.0.2.1;alias",
        )
        .unwrap();
        assert_eq!(via.transport(), Transport::Tls);
        assert_eq!(via.host(), Host::Address("2001:db8::1".parse().unwrap()));
        assert_eq!(via.port(), Some(5061));
        assert_eq!(via.unique_branch(), Some("z9hG4bKx.1"));
        assert_eq!(via.rport(), Some(Some(40000)));
        assert_eq!(via.received(), Some("192.0.2.1".parse().unwrap()));
        assert!(via.has_alias());
        let plain = Via::parse("SIP/2.0/SCTP a.example;rport").unwrap();
        assert_eq!(
            (plain.transport(), plain.transport_str()),
            (Transport::Other, "SCTP")
        );
        assert_eq!(
            (plain.rport(), plain.branch(), plain.port()),
            (Some(None), None, None)
        );
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/TLS",
            "SIP/2.0/TLS ",
            "SIP/2.0/TLS;branch=x",
            "SIP/2.0/TLS a b",
            "SIP/2.0/TLS a:",
            "SIP/2.0/TLS a:x",
            "SIP/2.0/TLS ::1",
            "SIP/2.0/TLS a;;b",
            "/2.0/TLS a",
            "SIP/2.0/TLS a;branch=\"x",
            "SIP/2.0/TLS a\r\nX: y",
        ] {
            assert_eq!(Via::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ours_can_be_read() {
        let via = Via::new(Transport::Tls, "sip.example.com", Some(5061), "z9hG4bK-1.2");
        assert_eq!(
            via.as_str(),
            "SIP/2.0/TLS sip.example.com:5061;branch=z9hG4bK-1.2;alias"
        );
        assert_eq!(
            Via::new(Transport::Udp, "[::1]", None, "z").rport(),
            Some(None)
        );
    }
}
