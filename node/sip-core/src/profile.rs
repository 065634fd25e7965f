//! How to speak to one kind of peer: the switches that sessions and subscriptions ask.
//!
//! The constructors hold what is known of each product; a configuration may override any field.

use std::time::Duration;

/// Which way a text goes out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImMode {
    /// INVITE, then MESSAGE in the dialog.
    Session,
    /// MESSAGE outside of any dialog (RFC 3428).
    Pager,
}

/// How the peer hears that our user types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// INFO with `KeyboardActivity` in the session.
    Info,
    /// MESSAGE with `application/im-iscomposing+xml` (RFC 3994).
    IsComposing,
    /// Not at all.
    Off,
}

/// The media line that our SDP offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `m=message`.
    Message,
    /// `m=x-ms-message`, what communicators before 2007 offer.
    XMsMessage,
}

/// Which product a profile is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// Office Communications Server 2007 and 2007 R2.
    MicrosoftOcs,
    /// Lync Server 2010 and 2013, Skype for Business Server 2015.
    MicrosoftLync,
    /// Office 365.
    Microsoft365,
    /// AOL's SIP Access Gateway.
    Aol,
    /// Any server that follows RFC 3428 and RFC 3856.
    Simple,
}

impl Product {
    /// The name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MicrosoftOcs => "microsoft-ocs",
            Self::MicrosoftLync => "microsoft-lync",
            Self::Microsoft365 => "microsoft-365",
            Self::Aol => "aol",
            Self::Simple => "simple",
        }
    }

    /// The product with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::MicrosoftOcs,
            Self::MicrosoftLync,
            Self::Microsoft365,
            Self::Aol,
            Self::Simple,
        ]
        .into_iter()
        .find(|product| product.name() == name)
    }
}

/// The switches for one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it was made for.
    pub product: Product,
    /// How texts go out.
    pub im: ImMode,
    /// Whether pager mode is tried when a session is refused with 415 or 488.
    pub pager_fallback: bool,
    /// Whether a session is tried when pager mode is refused with 405 or 501.
    pub session_fallback: bool,
    /// How typing goes out.
    pub typing: Typing,
    /// The media line of our offers.
    pub media: Media,
    /// What our SDP says that we take in a session, with a space between the types.
    pub session_accept: Box<str>,
    /// The value of Accept in our SUBSCRIBE. Microsoft's servers choose formats of their own if they
    /// are offered anything but PIDF.
    pub presence_accept: Box<str>,
    /// Expires that our SUBSCRIBE asks for.
    pub subscribe_expires: Duration,
    /// The least Expires that we take from a watcher; less is refused with 423, unless it is 0.
    pub min_expires: Duration,
    /// The largest Expires that we grant.
    pub max_expires: Duration,
    /// The shortest pause between two NOTIFY to one watcher (RFC 3856 section 6.10).
    pub notify_gap: Duration,
    /// Sessions that may be open between one local and one peer user; a peer user has one for each of
    /// its endpoints. More are refused with 486.
    pub sessions: usize,
    /// How long a session may be silent before we end it.
    pub session_idle: Duration,
    /// Texts that may wait for one peer user; more are refused.
    pub queued_texts: usize,
    /// Texts of the peer that may wait for our verdict in one session; more get 503.
    pub unanswered_texts: usize,
}

/// Types of texts that we take, best first.
const TEXTS: &str = "text/plain text/html text/rtf multipart/alternative multipart/related multipart/mixed application/im-iscomposing+xml";

impl Profile {
    /// The profile of a product.
    #[must_use]
    pub fn of(product: Product) -> Self {
        match product {
            Product::MicrosoftOcs => Self::microsoft_ocs(),
            Product::MicrosoftLync => Self::microsoft_lync(),
            Product::Microsoft365 => Self::microsoft_365(),
            Product::Aol => Self::aol(),
            Product::Simple => Self::simple(),
        }
    }

    /// Office Communications Server 2007 and 2007 R2.
    #[must_use]
    pub fn microsoft_ocs() -> Self {
        Self {
            product: Product::MicrosoftOcs,
            im: ImMode::Session,
            pager_fallback: false,
            session_fallback: true,
            typing: Typing::Info,
            media: Media::Message,
            session_accept: TEXTS.into(),
            presence_accept: "application/pidf+xml".into(),
            subscribe_expires: Duration::from_secs(7200),
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(7200),
            notify_gap: Duration::from_secs(5),
            sessions: 4,
            session_idle: Duration::from_secs(600),
            queued_texts: 100,
            unanswered_texts: 32,
        }
    }

    /// Lync Server 2010 and 2013, Skype for Business Server 2015.
    #[must_use]
    pub fn microsoft_lync() -> Self {
        Self {
            product: Product::MicrosoftLync,
            ..Self::microsoft_ocs()
        }
    }

    /// Office 365, business to business.
    #[must_use]
    pub fn microsoft_365() -> Self {
        Self {
            product: Product::Microsoft365,
            ..Self::microsoft_ocs()
        }
    }

    /// AOL's SIP Access Gateway.
    #[must_use]
    pub fn aol() -> Self {
        Self {
            product: Product::Aol,
            typing: Typing::IsComposing,
            subscribe_expires: Duration::from_secs(3600),
            ..Self::microsoft_ocs()
        }
    }

    /// Any server that follows RFC 3428 and RFC 3856.
    #[must_use]
    pub fn simple() -> Self {
        Self {
            product: Product::Simple,
            im: ImMode::Pager,
            pager_fallback: true,
            typing: Typing::IsComposing,
            subscribe_expires: Duration::from_secs(3600),
            ..Self::microsoft_ocs()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_is_found_by_its_name() {
        for product in [
            Product::MicrosoftOcs,
            Product::MicrosoftLync,
            Product::Microsoft365,
            Product::Aol,
            Product::Simple,
        ] {
            assert_eq!(Product::named(product.name()), Some(product));
            assert_eq!(Profile::of(product).product, product);
        }
        assert_eq!(Product::named("microsoft"), None);
    }

    #[test]
    fn microsoft_peers_are_offered_pidf_alone_and_sessions_first() {
        for profile in [
            Profile::microsoft_ocs(),
            Profile::microsoft_lync(),
            Profile::microsoft_365(),
        ] {
            assert_eq!(&*profile.presence_accept, "application/pidf+xml");
            assert_eq!(profile.im, ImMode::Session);
            assert_eq!(profile.typing, Typing::Info);
        }
        assert_eq!(Profile::simple().im, ImMode::Pager);
    }
}
