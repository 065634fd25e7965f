//! Just enough SIP for a load generator and for scripted peers of tests: messages as text, and
//! connections that carry them.
//!
//! Nothing of the product is in here, so that what is written with it can judge the product: headers
//! are looked up as they came, and nothing is repaired.

mod connection;
mod text;
mod trust;

pub use connection::{SipConnection, SipReader, SipSender};
pub use text::{SipText, SipTextError, SipWriter, parameter, token, uri_of};
pub use trust::{Identity, client_config, server_config};
