//! Presence subscriptions (RFC 6665 with the package of RFC 3856): we are the notifier of our users to
//! remote watchers, and the subscriber of our users to remote presentities.

pub mod notifier;
pub mod screen;
pub mod subscriber;
#[cfg(test)]
mod tests;

/// The one event package.
pub const PACKAGE: &str = "presence";

/// The one document type.
pub const PIDF: &str = "application/pidf+xml";

/// What an absent Expires means (RFC 3856 section 6.4), in seconds.
pub const DEFAULT_EXPIRES: u32 = 3600;
