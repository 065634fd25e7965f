//! A minimal, fast XMPP client and the pieces of a load generator around it.
//!
//! The client ([`Client`]) speaks what a load run or a scripted test needs and no more: STARTTLS and
//! direct TLS, SASL (SCRAM and PLAIN), resource binding, stream management with resumption, raw
//! stanzas in both directions. It does not validate what a server sends beyond cutting the stream
//! into top-level elements, so a test sees the bytes as they came.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use entente_load::{Client, ClientError, Endpoint, Login};
//! # async fn example() -> Result<(), ClientError> {
//! let endpoint = Endpoint::starttls("127.0.0.1:5222".parse().unwrap());
//! let mut juliet = Client::session(&endpoint, &Login::new("juliet", "a.example", "secret")).await?;
//! juliet.send("<presence/>").await?;
//! juliet.send("<message to='romeo@b.example' type='chat' id='m1'><body>hi</body></message>").await?;
//! let answer = juliet.expect(Duration::from_secs(5), |s| s.is("message")).await?;
//! assert_eq!(answer.attr("from").as_deref(), Some("romeo@b.example/balcony"));
//! # Ok(()) }
//! ```

mod client;
mod endpoint;
mod error;
pub mod histogram;
pub mod process;
mod sasl;
pub mod sip;
mod splitter;
mod stanza;
mod stream_management;
mod tls;
mod transport;

pub use client::Client;
pub use endpoint::{Endpoint, Login, Mechanism, TlsMode, Trust};
pub use error::ClientError;
pub use splitter::{Piece, SplitError, Splitter};
pub use stanza::{Stanza, escape, unescape};
pub use stream_management::ResumeState;
