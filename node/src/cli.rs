//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Entente: a federation cluster for XMPP. Every node is this one program.
#[derive(Debug, Parser)]
#[command(name = "entente", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file; ENTENTE_CONFIG says the same.
    #[arg(long, global = true, env = "ENTENTE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of the node's administration, for all commands that ask a running node.
    #[arg(long, global = true, env = "ENTENTE_ADMIN", value_name = "HOST:PORT")]
    pub(crate) admin: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node. Without a configuration: a single node on loopback for trying things.
    Run,
    /// Check, show and explain the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at what federation needs from outside: DNS, certificates, ports, peers. Exit 0 when all is
    /// well, 1 with warnings, 2 with faults.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Ask these resolvers instead of those of the configuration or the system.
        #[arg(long = "resolver", value_name = "ADDRESS:PORT")]
        resolvers: Vec<std::net::SocketAddr>,
    },
    /// Members, homes, sessions, streams, DNS and store, as this node sees them.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Other organisations' servers: connections, pace, what waits, the last error.
    Peers {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Exit 0 when the node is ready, 1 with the reasons when it is not (for health checks).
    Ready,
    /// Take the node out of DNS, wait until resolvers have forgotten it, hand its users over, then close
    /// its streams; it keeps running.
    Drain {
        /// Wait until the drain is complete, showing its steps and what is left.
        #[arg(long)]
        wait: bool,
        /// Do not wait until resolvers have forgotten the node.
        #[arg(long)]
        now: bool,
    },
    /// End a drain.
    Undrain,
    /// Accounts of local users.
    #[command(subcommand)]
    User(UserCommand),
    /// Nodes of the cluster.
    #[command(subcommand)]
    Node(NodeCommand),
    /// The cluster as a whole.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Write a backup of the store on the running node and print its path.
    Backup,
    /// Put a backup into the data folder of a node that is not running.
    Restore {
        /// The backup file.
        file: PathBuf,
    },
    /// Cluster CA, cluster key and development certificates.
    #[command(subcommand)]
    Certs(CertsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check file and environment; every problem names file, key and cure.
    Check,
    /// The effective configuration, secrets hidden.
    Show,
    /// An example to start from.
    Example,
    /// All keys with defaults, bounds and environment variables, as Markdown.
    Reference,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account. The password is read from standard input unless it is to be generated.
    Add(UserPassword),
    /// Set a new password.
    Passwd(UserPassword),
    /// Remove an account with its roster and offline messages.
    Rm {
        /// user@domain
        jid: String,
    },
    /// List accounts.
    List {
        /// Only of this domain.
        domain: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserPassword {
    /// user@domain
    pub(crate) jid: String,
    /// Make a password and print it.
    #[arg(long)]
    pub(crate) generate: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Remove a node that will not come back from the store's members.
    Remove {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Declare all other nodes lost: this stopped node restarts as the only voter, with its data.
    Recover {
        /// Say that the other nodes are gone for good.
        #[arg(long)]
        others_are_lost: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make cluster CA, cluster key and development certificates in a folder; existing files stay.
    Init {
        /// The folder.
        #[arg(long, default_value = "certs")]
        out: PathBuf,
        /// Local domains that get a development certificate.
        #[arg(long, value_delimiter = ',')]
        domains: Vec<String>,
        /// Nodes that get a certificate of the cluster CA.
        #[arg(long, value_delimiter = ',')]
        nodes: Vec<String>,
    },
}
