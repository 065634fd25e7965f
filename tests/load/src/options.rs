//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use entente_load::process::ProcessSet;
use entente_load::{Mechanism, TlsMode};

/// Drives XMPP servers through clients and measures them.
///
/// Accounts must exist: PREFIX1, PREFIX2, … on each domain, all with the same password (see
/// accounts-prosody, accounts-ejabberd and accounts-entente beside this crate). Every run is bounded
/// by its own options. Exit code 0: done; 1: messages were lost (steady) or nothing got through;
/// 2: the run could not be made.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Threads of the generator; 1 costs least CPU per message.
    #[arg(long, global = true, default_value_t = 1, value_parser = threads)]
    pub(crate) threads: usize,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=64) => Ok(n),
        _ => Err("1 to 64".to_owned()),
    }
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// How connections are secured.
    #[arg(long, global = true, value_enum, default_value = "starttls")]
    pub(crate) tls: TlsMode,
    /// Check server certificates against this PEM file; without it any certificate is accepted.
    #[arg(long, global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// SASL mechanism; by default the strongest offered, without channel binding.
    #[arg(long, global = true, value_enum)]
    pub(crate) mechanism: Option<Mechanism>,
    /// Localparts are this and a number from 1 up.
    #[arg(long, global = true, default_value = "u")]
    pub(crate) user_prefix: String,
    /// The password of all accounts.
    #[arg(long, global = true, default_value = "load")]
    pub(crate) password: String,
    /// Server process to watch, descendants included; may be given several times.
    #[arg(long, global = true)]
    pub(crate) pid: Vec<u32>,
    /// Watch processes of this name (as in /proc/PID/comm); may be given several times.
    #[arg(long, global = true)]
    pub(crate) pid_name: Vec<String>,
    /// Logins under way at once.
    #[arg(long, global = true, default_value_t = 16)]
    pub(crate) login_concurrency: usize,
    /// Write the report as JSON to this file, too (`-` for standard output instead of the summary).
    #[arg(long, global = true)]
    pub(crate) json: Option<PathBuf>,
}

impl Common {
    pub(crate) fn processes(&self) -> ProcessSet {
        ProcessSet {
            pids: self.pid.clone(),
            names: self.pid_name.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Messages from users of server A to users of server B, closed loop.
    Federated(FederatedArgs),
    /// Messages between users of one server, closed loop.
    Local(LocalArgs),
    /// Presence changes broadcast to contacts, closed loop.
    Presence(PresenceArgs),
    /// Memory per idle session.
    Idle(IdleArgs),
    /// CPU time per login.
    Login(LoginArgs),
    /// Instant messages over SIP with mutual TLS, closed loop.
    Sip(SipArgs),
    /// A steady rate with an account of every message, while servers fail and come back.
    Steady(SteadyArgs),
}

/// One server, or a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Its domain.
    #[arg(long)]
    pub(crate) domain: String,
    /// Address and port for clients; several for a cluster (clients spread over them).
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) addr: Vec<SocketAddr>,
}

/// The sending and the receiving server.
#[derive(Debug, Clone, Args)]
pub(crate) struct PairArgs {
    /// The senders' domain.
    #[arg(long)]
    pub(crate) a_domain: String,
    /// The senders' addresses.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) a_addr: Vec<SocketAddr>,
    /// The receivers' domain.
    #[arg(long)]
    pub(crate) b_domain: String,
    /// The receivers' addresses.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) b_addr: Vec<SocketAddr>,
}

/// Shape and length of a closed loop.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoopArgs {
    /// Senders; each has a receiver of its own.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) senders: u32,
    /// Messages that each sender keeps under way.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) window: u32,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Seconds of measurement.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// End the measurement after so many messages at the latest.
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) max_messages: u64,
    /// Stream management on all clients (acks asked for once for each window).
    #[arg(long)]
    pub(crate) sm: bool,
    /// Bytes of the message body.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) body: u32,
}

#[derive(Debug, Args)]
pub(crate) struct FederatedArgs {
    #[command(flatten)]
    pub(crate) servers: PairArgs,
    #[command(flatten)]
    pub(crate) shape: LoopArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) shape: LoopArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PresenceArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Users online.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) users: u32,
    /// Contacts of each, mutually subscribed; even, and below the number of users.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(crate) contacts: u32,
    /// Presence changes that each user keeps under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) window: u32,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Seconds of measurement.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Sessions to hold.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) sessions: u32,
    /// Accounts that they share evenly.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) users: u32,
    /// Send initial presence (mind: with many sessions for each account all of them hear of it).
    #[arg(long)]
    pub(crate) presence: bool,
    /// Enable stream management.
    #[arg(long)]
    pub(crate) sm: bool,
    /// Seconds to wait after the last login before memory is read.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) settle: f64,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Logins to make.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) logins: u32,
    /// Accounts to use in turn.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) users: u32,
    /// End after so many seconds at the latest.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) seconds: f64,
}

/// How texts go over SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SipMode {
    /// MESSAGE outside dialogs (RFC 3428): through a relay to our own address.
    Pager,
    /// MESSAGE inside a session that an INVITE opened: to the users of a gateway.
    Session,
}

impl SipMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pager => "pager",
            Self::Session => "session",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SipArgs {
    /// Pager or session.
    #[arg(long, value_enum, default_value = "pager")]
    pub(crate) mode: SipMode,
    /// The server's addresses for TLS; connections spread over them.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) to: Vec<SocketAddr>,
    /// The receivers' domain: u1, u2, … there.
    #[arg(long)]
    pub(crate) domain: String,
    /// The senders' domain, which our certificate must name.
    #[arg(long)]
    pub(crate) own_domain: String,
    /// Where we listen: in Via and Contact, and for what the server sends.
    #[arg(long)]
    pub(crate) own_address: SocketAddr,
    /// The CA of both sides' certificates.
    #[arg(long)]
    pub(crate) ca_file: PathBuf,
    /// Our certificate, for servers and clients.
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// Its key.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// In session mode: where the receivers log in over XMPP.
    #[arg(long, value_delimiter = ',', required_if_eq("mode", "session"))]
    pub(crate) clients: Vec<SocketAddr>,
    /// Senders; each has a receiver of its own.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) senders: u32,
    /// Texts that each sender keeps under way. Real clients wait for each answer in a session.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) window: u32,
    /// Connections that they share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Seconds of measurement.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Bytes of the text.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) body: u32,
}

/// What to do with a broken session that the server promised to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ResumePolicy {
    /// Resume at the address where it was, bind anew elsewhere.
    Same,
    /// Try at every address.
    Any,
    /// Always bind anew.
    Never,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SteadyArgs {
    #[command(flatten)]
    pub(crate) servers: PairArgs,
    /// Senders, and as many receivers. With one domain for A and B the receivers' numbers follow
    /// the senders'.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) senders: u32,
    /// Messages a second, all senders together.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Seconds of sending; the messages of the plan are sent in any case, late ones after a
    /// reconnect.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) seconds: f64,
    /// Seconds to wait at the end for what is missing, and again after the final reconnect.
    #[arg(long, default_value_t = 15.0)]
    pub(crate) settle: f64,
    /// A connection that owes an ack for so many seconds counts as dead.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) dead_after: f64,
    /// Seconds that connecting and each step of a login may take.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) step_timeout: f64,
    /// Seconds between attempts to connect, about.
    #[arg(long, default_value_t = 0.25)]
    pub(crate) retry: f64,
    /// When to resume sessions.
    #[arg(long, value_enum, default_value = "same")]
    pub(crate) resume: ResumePolicy,
    /// Bytes of the message body.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) body: u32,
    /// Print a line a second to standard error.
    #[arg(long)]
    pub(crate) progress: bool,
    /// Create this file when all clients are logged in and sending begins.
    #[arg(long)]
    pub(crate) ready_file: Option<PathBuf>,
    /// List the ids of lost messages in the report, so many at most.
    #[arg(long, default_value_t = 20)]
    pub(crate) list: usize,
}
