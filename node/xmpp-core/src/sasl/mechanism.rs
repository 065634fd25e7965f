//! Mechanism names and channel bindings.

use super::ScramHash;

/// A SASL mechanism that a client may use with us, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// SCRAM-SHA-256-PLUS (RFC 7677) with channel binding.
    ScramSha256Plus,
    /// SCRAM-SHA-1-PLUS (RFC 5802) with channel binding.
    ScramSha1Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// PLAIN (RFC 4616); only ever under TLS.
    Plain,
}

impl Mechanism {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 5] = [
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
    ];

    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
        }
    }

    /// The mechanism of this exact name, if it is one of ours.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// Whether it binds to the TLS channel.
    #[must_use]
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The hash that the stored keys must be of. PLAIN is checked against SHA-256 keys.
    #[must_use]
    pub const fn hash(self) -> ScramHash {
        match self {
            Self::ScramSha1Plus | Self::ScramSha1 => ScramHash::Sha1,
            Self::ScramSha256Plus | Self::ScramSha256 | Self::Plain => ScramHash::Sha256,
        }
    }
}

/// A channel-binding type that we support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelBindingType {
    /// tls-exporter (RFC 9266).
    TlsExporter,
    /// tls-server-end-point (RFC 5929).
    TlsServerEndPoint,
}

impl ChannelBindingType {
    /// The registered name, as in the GS2 header and in XEP-0440.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }
}

/// The binding data of one TLS connection: what the shell learned from its TLS library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// 32 bytes exported with the label `EXPORTER-Channel-Binding` and an empty context
    /// (RFC 9266). With TLS 1.2 give it only if the extended master secret is in use.
    pub exporter: Option<[u8; 32]>,
    /// The hash of our certificate (RFC 5929 section 4.1).
    pub end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// Whether any type is at hand, that is whether -PLUS can be offered.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    /// The types at hand, for XEP-0440.
    pub fn types(&self) -> impl Iterator<Item = ChannelBindingType> + '_ {
        [
            ChannelBindingType::TlsExporter,
            ChannelBindingType::TlsServerEndPoint,
        ]
        .into_iter()
        .filter(|t| self.data(*t).is_some())
    }

    /// The data of one type.
    #[must_use]
    pub fn data(&self, binding: ChannelBindingType) -> Option<&[u8]> {
        match binding {
            ChannelBindingType::TlsExporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            ChannelBindingType::TlsServerEndPoint => self.end_point.as_deref(),
        }
    }

    /// Finds a type by the name that a client gave, if its data is at hand.
    pub(super) fn named(&self, name: &str) -> Option<ChannelBindingType> {
        self.types().find(|t| t.name() == name)
    }
}
