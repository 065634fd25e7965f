//! Where to connect, how, and as whom.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsMode {
    /// STARTTLS, demanded (RFC 6120 section 5).
    Starttls,
    /// TLS from the first byte, ALPN `xmpp-client` (XEP-0368).
    Direct,
    /// No TLS.
    None,
}

/// Which server certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Any certificate: for load runs and throw-away servers only.
    Anything,
    /// Certificates that chain to a CA of this PEM file and name the domain.
    CaFile(PathBuf),
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// PLAIN (RFC 4616).
    #[value(name = "PLAIN")]
    Plain,
    /// SCRAM-SHA-1 (RFC 5802).
    #[value(name = "SCRAM-SHA-1")]
    ScramSha1,
    /// SCRAM-SHA-256 (RFC 7677).
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-1-PLUS with tls-exporter (RFC 9266).
    #[value(name = "SCRAM-SHA-1-PLUS")]
    ScramSha1Plus,
    /// SCRAM-SHA-256-PLUS with tls-exporter (RFC 9266).
    #[value(name = "SCRAM-SHA-256-PLUS")]
    ScramSha256Plus,
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }
}

/// A server's address and how to talk to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// How the connection is secured.
    pub tls: TlsMode,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// The mechanism to use; `None` takes the strongest offered without channel binding.
    pub mechanism: Option<Mechanism>,
    /// The longest that connecting, and each step of logging in, may take.
    pub step_timeout: Duration,
}

impl Endpoint {
    /// STARTTLS, any certificate, 10 s for each step.
    pub fn starttls(address: SocketAddr) -> Self {
        Self {
            address,
            tls: TlsMode::Starttls,
            trust: Trust::Anything,
            mechanism: None,
            step_timeout: Duration::from_secs(10),
        }
    }

    /// The same with another way of securing the connection.
    pub fn with_tls(mut self, tls: TlsMode) -> Self {
        self.tls = tls;
        self
    }

    /// The same with one SASL mechanism demanded.
    pub fn with_mechanism(mut self, mechanism: Mechanism) -> Self {
        self.mechanism = Some(mechanism);
        self
    }

    /// The same with other accepted certificates.
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }
}

/// An account, and the resource to bind.
#[derive(Clone)]
pub struct Login {
    /// Localpart.
    pub user: String,
    /// Domainpart.
    pub domain: String,
    /// Password, used as it is (no SASLprep: the generator's passwords are ASCII).
    pub password: String,
    /// Resource to ask for; `None` lets the server choose.
    pub resource: Option<String>,
}

impl Login {
    /// An account; the server chooses the resource.
    pub fn new(
        user: impl Into<String>,
        domain: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        Self {
            user: user.into(),
            domain: domain.into(),
            password: password.into(),
            resource: None,
        }
    }

    /// The same with this resource.
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// `user@domain`.
    pub fn bare(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("domain", &self.domain)
            .field("password", &"…")
            .field("resource", &self.resource)
            .finish()
    }
}
