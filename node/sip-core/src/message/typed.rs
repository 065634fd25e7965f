//! The headers that have a type, read when asked for.

use crate::grammar::{is_call_id, is_lws, number, trim};
use crate::header::{
    CSeq, ContentType, Event, HeaderFault, HeaderName, MsDiagnostics, ReasonValue,
    SubscriptionState, Warning, seconds,
};
use crate::message::{Headers, Message};
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::via::Via;

/// One element of Contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// `*`, all of them, in a REGISTER.
    All,
    /// An address.
    Address(NameAddr),
}

type Read<T> = Result<T, HeaderFault>;

/// Every reader says [`HeaderFault::Malformed`] for a value against the grammar and
/// [`HeaderFault::Repeated`] for a second value where one may stand.
impl Headers {
    /// The first Via: the sender of this message.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn top_via(&self) -> Read<Via> {
        self.vias()
            .next()
            .ok_or(HeaderFault::Missing(HeaderName::Via))?
    }

    /// All Vias, the last hop first.
    pub fn vias(&self) -> impl Iterator<Item = Read<Via>> {
        self.values(HeaderName::Via).map(|value| {
            Via::from_text(self.share(value)).ok_or(HeaderFault::Malformed(HeaderName::Via))
        })
    }

    /// From.
    ///
    /// # Errors
    /// If it is missing, repeated or malformed.
    pub fn from(&self) -> Read<NameAddr> {
        self.one_address(HeaderName::From)
    }

    /// To.
    ///
    /// # Errors
    /// If it is missing, repeated or malformed.
    pub fn to(&self) -> Read<NameAddr> {
        self.one_address(HeaderName::To)
    }

    /// Call-ID.
    ///
    /// # Errors
    /// If it is missing, repeated or malformed.
    pub fn call_id(&self) -> Read<&str> {
        let call_id = self.mandatory(HeaderName::CallId)?;
        is_call_id(call_id)
            .then_some(call_id)
            .ok_or(HeaderFault::Malformed(HeaderName::CallId))
    }

    /// CSeq.
    ///
    /// # Errors
    /// If it is missing, repeated or malformed.
    pub fn cseq(&self) -> Read<CSeq> {
        CSeq::parse(self.mandatory(HeaderName::CSeq)?)
            .ok_or(HeaderFault::Malformed(HeaderName::CSeq))
    }

    /// Max-Forwards, 0 to 255. RFC 2543's clients send none.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn max_forwards(&self) -> Read<Option<u8>> {
        self.optional(HeaderName::MaxForwards, |value| {
            number(value).and_then(|hops| u8::try_from(hops).ok())
        })
    }

    /// All elements of Contact.
    pub fn contacts(&self) -> impl Iterator<Item = Read<Contact>> {
        self.values(HeaderName::Contact).map(|value| match value {
            "*" => Ok(Contact::All),
            value => NameAddr::from_text(self.share(value))
                .map(Contact::Address)
                .ok_or(HeaderFault::Malformed(HeaderName::Contact)),
        })
    }

    /// The one address of Contact, where a dialog's remote target is read.
    ///
    /// # Errors
    /// If it is missing, malformed, `*`, or more than one.
    pub fn contact(&self) -> Read<NameAddr> {
        let mut contacts = self.contacts();
        let first = contacts
            .next()
            .ok_or(HeaderFault::Missing(HeaderName::Contact))??;
        match (first, contacts.next()) {
            (Contact::Address(address), None) => Ok(address),
            (Contact::All, _) => Err(HeaderFault::Malformed(HeaderName::Contact)),
            (_, Some(_)) => Err(HeaderFault::Repeated(HeaderName::Contact)),
        }
    }

    /// All elements of Route, in order, byte for byte.
    pub fn routes(&self) -> impl Iterator<Item = Read<NameAddr>> {
        self.addresses(HeaderName::Route)
    }

    /// All elements of Record-Route, in order, byte for byte.
    pub fn record_routes(&self) -> impl Iterator<Item = Read<NameAddr>> {
        self.addresses(HeaderName::RecordRoute)
    }

    /// The addresses of any header that is a list of them.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = Read<NameAddr>> {
        self.values(name).map(move |value| {
            NameAddr::from_text(self.share(value)).ok_or(HeaderFault::Malformed(name))
        })
    }

    /// Expires in seconds; `u32::MAX` for more than fits.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn expires(&self) -> Read<Option<u32>> {
        self.optional(HeaderName::Expires, seconds)
    }

    /// Min-Expires in seconds.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn min_expires(&self) -> Read<Option<u32>> {
        self.optional(HeaderName::MinExpires, seconds)
    }

    /// Retry-After in seconds, its comment and parameters left out.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn retry_after(&self) -> Read<Option<u32>> {
        self.optional(HeaderName::RetryAfter, |value| {
            let end = value
                .bytes()
                .position(|byte| is_lws(byte) || matches!(byte, b'(' | b';'))
                .unwrap_or(value.len());
            seconds(&value[..end])
        })
    }

    /// Event.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn event(&self) -> Read<Option<Event<'_>>> {
        self.optional(HeaderName::Event, Event::parse)
    }

    /// Subscription-State.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn subscription_state(&self) -> Read<Option<SubscriptionState<'_>>> {
        self.optional(HeaderName::SubscriptionState, SubscriptionState::parse)
    }

    /// Content-Type.
    ///
    /// # Errors
    /// If it is repeated or malformed.
    pub fn content_type(&self) -> Read<Option<ContentType<'_>>> {
        self.optional(HeaderName::ContentType, ContentType::parse)
    }

    /// The media ranges of Accept as written; none too if there is no Accept (see
    /// [`Headers::has`]).
    #[must_use]
    pub fn accept(&self) -> crate::message::Values<'_> {
        self.values(HeaderName::Accept)
    }

    /// The methods of Allow.
    pub fn allow(&self) -> impl Iterator<Item = Method> {
        self.values(HeaderName::Allow).filter_map(Method::parse)
    }

    /// The option tags of Require.
    #[must_use]
    pub fn require(&self) -> crate::message::Values<'_> {
        self.values(HeaderName::Require)
    }

    /// The option tags of Proxy-Require.
    #[must_use]
    pub fn proxy_require(&self) -> crate::message::Values<'_> {
        self.values(HeaderName::ProxyRequire)
    }

    /// The option tags of Supported.
    #[must_use]
    pub fn supported(&self) -> crate::message::Values<'_> {
        self.values(HeaderName::Supported)
    }

    /// The warnings that can be read.
    pub fn warnings(&self) -> impl Iterator<Item = Warning<'_>> {
        self.values(HeaderName::Warning).filter_map(Warning::parse)
    }

    /// The reasons (RFC 3326) that can be read.
    pub fn reasons(&self) -> impl Iterator<Item = ReasonValue<'_>> {
        self.values(HeaderName::Reason)
            .filter_map(ReasonValue::parse)
    }

    /// ms-diagnostics, or its public sister, if it can be read.
    #[must_use]
    pub fn ms_diagnostics(&self) -> Option<MsDiagnostics<'_>> {
        [HeaderName::MsDiagnostics, HeaderName::MsDiagnosticsPublic]
            .into_iter()
            .find_map(|name| MsDiagnostics::parse(self.get(name)?))
    }

    /// User-Agent, or of a response Server.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.get(HeaderName::UserAgent)
            .or_else(|| self.get(HeaderName::Server))
    }

    fn mandatory(&self, name: HeaderName) -> Read<&str> {
        self.single(name)?.ok_or(HeaderFault::Missing(name))
    }

    fn one_address(&self, name: HeaderName) -> Read<NameAddr> {
        let value = self.mandatory(name)?;
        NameAddr::from_text(self.share(value)).ok_or(HeaderFault::Malformed(name))
    }

    fn optional<'a, T>(
        &'a self,
        name: HeaderName,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Read<Option<T>> {
        self.single(name)?
            .map(|value| read(trim(value)).ok_or(HeaderFault::Malformed(name)))
            .transpose()
    }
}

/// So that a message's headers are read from the message itself.
impl std::ops::Deref for Message {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        self.headers()
    }
}
