//! Microsoft's explanations: `1009;reason="Conflicting SRV and host domains in DNS";source="…"`
//! ([MS-OCER]). For the operator; the reason is also told to the person.

/// What an ms-diagnostics header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsDiagnostics {
    /// The number.
    pub code: u32,
    /// The words.
    pub reason: Option<String>,
    /// The server that says it.
    pub source: Option<String>,
}

/// Troubles that we or the operator can do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerTrouble {
    /// 1004: the dialog's route is no longer valid. It is built anew.
    RouteExpired,
    /// 1003: no such user there.
    NoSuchUser,
    /// 1007: for now. Later again.
    Temporary,
    /// 1008, 1014: the peer finds no DNS record of ours.
    NotInDns,
    /// 1009: our SRV record leads outside the SIP domain.
    DnsConflict,
    /// 1010, 1047: the peer does not trust our certificate.
    Certificate,
    /// 1046: the peer cannot connect to us.
    Unreachable,
    /// Anything else.
    Other,
}

impl MsDiagnostics {
    /// Reads the value of the header.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (code, mut rest) = match value.split_once(';') {
            Some((code, rest)) => (code, rest),
            None => (value, ""),
        };
        let mut read = Self {
            code: code.trim().parse().ok()?,
            reason: None,
            source: None,
        };
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_start_matches([';', ' ']).trim();
            let (parameter, after) = match after.trim_start().strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => after.split_once(';').unwrap_or((after, "")),
            };
            let slot = if name.eq_ignore_ascii_case("reason") {
                Some(&mut read.reason)
            } else if name.eq_ignore_ascii_case("source") {
                Some(&mut read.source)
            } else {
                None
            };
            if let Some(slot) = slot
                && slot.is_none()
                && !parameter.trim().is_empty()
            {
                *slot = Some(parameter.trim().to_owned());
            }
            rest = after;
        }
        Some(read)
    }

    /// What kind of trouble it is.
    #[must_use]
    pub const fn trouble(&self) -> PeerTrouble {
        match self.code {
            1003 => PeerTrouble::NoSuchUser,
            1004 => PeerTrouble::RouteExpired,
            1007 => PeerTrouble::Temporary,
            1008 | 1014 => PeerTrouble::NotInDns,
            1009 => PeerTrouble::DnsConflict,
            1010 | 1047 => PeerTrouble::Certificate,
            1046 => PeerTrouble::Unreachable,
            _ => PeerTrouble::Other,
        }
    }
}

impl PeerTrouble {
    /// What the operator may do about it.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::NotInDns => {
                "publish _sipfederationtls._tcp for the domain, and an address for its target"
            }
            Self::DnsConflict => "the target of _sipfederationtls._tcp must lie in the SIP domain",
            Self::Certificate => {
                "the peer must trust our certificate's issuer, and the certificate must name the \
                 SRV target"
            }
            Self::Unreachable => "the peer must reach port 5061 of the SRV target",
            Self::RouteExpired | Self::NoSuchUser | Self::Temporary | Self::Other => return None,
        })
    }
}
