//! Header names, and the values that have a shape of their own.

mod content_type;
mod cseq;
mod diagnostics;
mod event;
mod fault;
mod name;
mod warning;

pub use content_type::ContentType;
pub use cseq::CSeq;
pub use diagnostics::MsDiagnostics;
pub(crate) use event::seconds;
pub use event::{Event, SubscriptionState, Substate};
pub use fault::HeaderFault;
pub use name::HeaderName;
pub use warning::{ReasonValue, Warning};

#[cfg(test)]
mod tests;
