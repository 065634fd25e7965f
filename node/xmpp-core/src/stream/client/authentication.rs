//! One SASL exchange (RFC 6120 section 6).

use super::features;
use super::negotiation::{AwaitingHeader, Unauthenticated};
use super::shared::Shared;
use super::{ClientAnswer, ClientOutput, ClientRequest, State};
use crate::element::Element;
use crate::error::StreamCondition;
use crate::framer::Frame;
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::{
    ClientFirst, Mechanism, PlainCredentials, SaslCondition, ScramChallenge, ScramKeys,
    decode_initial_response, decode_response, encode_payload,
};
use crate::stream::RequestId;
use crate::stream::wire::stream_error;

/// An exchange between `<auth/>` and its outcome.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Where a failed attempt leads back to.
    back: Unauthenticated,
    mechanism: Mechanism,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// `<auth/>` came without an initial response.
    Began,
    /// The shell looks up the keys.
    LookingUp(RequestId, Claim),
    /// The challenge is out.
    Challenged(Box<ScramChallenge>, Option<BareJid>),
}

/// Who the client says it is.
#[derive(Debug)]
struct Claim {
    /// `None` if the name cannot belong to an account.
    user: Option<BareJid>,
    /// The name as given; a decoy's keys depend on it.
    username: String,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Scram(Box<ClientFirst>),
    Plain(PlainCredentials),
}

impl Exchange {
    /// Takes the first SASL element.
    pub(super) fn begin(back: Unauthenticated, element: &Element, shared: &mut Shared) -> State {
        match element.name() {
            "auth" => {}
            "abort" => return failure(back, SaslCondition::Aborted, shared),
            _ => return failure(back, SaslCondition::MalformedRequest, shared),
        }
        if shared.tls.is_none() && shared.config.require_tls {
            return failure(back, SaslCondition::EncryptionRequired, shared);
        }
        let mechanism = element
            .get_attr("mechanism")
            .and_then(Mechanism::from_name)
            .filter(|wanted| features::mechanisms(shared).any(|offered| offered == *wanted));
        let Some(mechanism) = mechanism else {
            return failure(back, SaslCondition::InvalidMechanism, shared);
        };
        let exchange = Self {
            back,
            mechanism,
            step: Step::Began,
        };
        match decode_initial_response(&element.content_text()) {
            Ok(Some(message)) => exchange.on_message(&message, shared),
            Ok(None) => {
                shared
                    .wire
                    .put("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                State::Exchange(Box::new(exchange))
            }
            Err(condition) => failure(exchange.back, condition, shared),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.step, Step::LookingUp(..))
    }

    pub(super) fn on_frame(self, frame: Frame, shared: &mut Shared) -> State {
        let element = match frame {
            Frame::Nonza(element) if element.ns() == ns::SASL => element,
            Frame::StreamClose => return shared.close(),
            _ => return shared.unexpected(),
        };
        match element.name() {
            "response" => match decode_response(&element.content_text()) {
                Ok(message) => self.on_message(&message, shared),
                Err(condition) => failure(self.back, condition, shared),
            },
            "abort" => failure(self.back, SaslCondition::Aborted, shared),
            _ => failure(self.back, SaslCondition::MalformedRequest, shared),
        }
    }

    fn on_message(self, message: &[u8], shared: &mut Shared) -> State {
        match self.step {
            Step::Began => match self.claim(message, shared) {
                Ok(claim) => self.look_up(claim, shared),
                Err(condition) => failure(self.back, condition, shared),
            },
            Step::Challenged(challenge, user) => match (challenge.verify(message), user) {
                (Ok(done), Some(user)) => {
                    let data = encode_payload(done.server_final.as_bytes());
                    success(user, &data, shared)
                }
                (Ok(_), None) => failure(self.back, SaslCondition::NotAuthorized, shared),
                (Err(condition), _) => failure(self.back, condition, shared),
            },
            // Nothing is read while keys are looked up.
            Step::LookingUp(..) => shared.unexpected(),
        }
    }

    fn claim(&self, message: &[u8], shared: &Shared) -> Result<Claim, SaslCondition> {
        let (username, authzid, proof) = if self.mechanism == Mechanism::Plain {
            let plain = PlainCredentials::parse(message)?;
            let names = (plain.username.clone(), plain.authzid.clone());
            (names.0, names.1, Proof::Plain(plain))
        } else {
            let bindings = shared
                .tls
                .as_ref()
                .map(|tls| tls.bindings.clone())
                .unwrap_or_default();
            let plus_offered = features::offers_plus(shared);
            let first = ClientFirst::parse(self.mechanism, message, &bindings, plus_offered)?;
            (
                first.username().to_owned(),
                first.authzid().map(str::to_owned),
                Proof::Scram(Box::new(first)),
            )
        };
        let user = BareJid::from_parts(Some(&username), &self.back.domain).ok();
        if let Some(authzid) = authzid {
            // Nobody acts for somebody else here.
            let same = BareJid::new(&authzid).is_ok_and(|authzid| Some(authzid) == user);
            if !same {
                return Err(SaslCondition::InvalidAuthzid);
            }
        }
        Ok(Claim {
            user,
            username,
            proof,
        })
    }

    fn look_up(mut self, claim: Claim, shared: &mut Shared) -> State {
        match &claim.user {
            Some(user) => {
                let request = shared.request(ClientRequest::Credentials {
                    user: user.clone(),
                    mechanism: self.mechanism,
                });
                self.step = Step::LookingUp(request, claim);
                State::Exchange(Box::new(self))
            }
            // No account can have this name: go on as for any other unknown one.
            None => self.on_keys(None, claim, shared),
        }
    }

    pub(super) fn on_answer(
        mut self: Box<Self>,
        id: RequestId,
        answer: ClientAnswer,
        shared: &mut Shared,
    ) -> State {
        let claim = match self.step {
            Step::LookingUp(open, claim) if open == id => claim,
            step => {
                self.step = step;
                return State::Exchange(self);
            }
        };
        self.step = Step::Began;
        match answer {
            ClientAnswer::Credentials(keys) if keys.hash == self.mechanism.hash() => {
                self.on_keys(Some(keys), claim, shared)
            }
            ClientAnswer::UnknownUser => self.on_keys(None, claim, shared),
            ClientAnswer::CredentialsUnavailable => {
                failure(self.back, SaslCondition::TemporaryAuthFailure, shared)
            }
            _ => {
                debug_assert!(false, "the answer does not fit the request");
                failure(self.back, SaslCondition::TemporaryAuthFailure, shared)
            }
        }
    }

    fn on_keys(mut self, keys: Option<ScramKeys>, claim: Claim, shared: &mut Shared) -> State {
        let user = claim.user.filter(|_| keys.is_some());
        let keys = keys.unwrap_or_else(|| {
            let name = claim.username.to_lowercase();
            let account = format!("{name}@{}", self.back.domain);
            shared.config.decoys.keys(self.mechanism.hash(), &account)
        });
        match claim.proof {
            Proof::Scram(first) => {
                let challenge = first.challenge(keys, &shared.wire.ids.fresh());
                shared.wire.put_fmt(format_args!(
                    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</challenge>",
                    encode_payload(challenge.message().as_bytes())
                ));
                self.step = Step::Challenged(Box::new(challenge), user);
                State::Exchange(Box::new(self))
            }
            // The password is hashed for an unknown user too.
            Proof::Plain(plain) => match (keys.verify_password(&plain.password), user) {
                (true, Some(user)) => success(user, "", shared),
                _ => failure(self.back, SaslCondition::NotAuthorized, shared),
            },
        }
    }
}

fn success(user: BareJid, data: &str, shared: &mut Shared) -> State {
    if data.is_empty() {
        shared
            .wire
            .put("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    } else {
        shared.wire.put_fmt(format_args!(
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{data}</success>"
        ));
    }
    shared.wire.restart();
    shared.wire.set_limits(shared.config.limits);
    shared.authentication_deadline = shared.wire.now + shared.config.authentication_timeout;
    shared
        .outputs
        .push_back(ClientOutput::Authenticated(user.clone()));
    State::AwaitingHeader(AwaitingHeader::after_authentication(user))
}

fn failure(back: Unauthenticated, condition: SaslCondition, shared: &mut Shared) -> State {
    shared.wire.put_fmt(format_args!(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{}/></failure>",
        condition.name()
    ));
    shared.failures = shared.failures.saturating_add(1);
    if shared.failures >= shared.config.max_authentication_tries {
        return shared.fail(stream_error(
            StreamCondition::PolicyViolation,
            "too many failed authentication attempts",
        ));
    }
    State::Unauthenticated(back)
}
