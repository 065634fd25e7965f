//! From a TCP connection to a bound resource: TLS, stream headers, SASL, binding.

use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Client;
use crate::endpoint::{Endpoint, Login, Mechanism, TlsMode};
use crate::error::{ClientError, TlsSetupError};
use crate::sasl::{self, Scram};
use crate::splitter::Splitter;
use crate::stanza::{Stanza, escape};
use crate::tls;
use crate::transport::Transport;

impl Client {
    /// Connects, secures the connection as the endpoint says and opens the stream; afterwards
    /// [`features`](Self::features) holds what the server offers before authentication.
    ///
    /// # Errors
    /// When any step fails or exceeds the endpoint's time-out.
    pub async fn connect(endpoint: &Endpoint, domain: &str) -> Result<Self, ClientError> {
        let mut client = Self::tcp(endpoint, domain).await?;
        if endpoint.tls == TlsMode::Direct {
            client = client.into_tls(endpoint).await?;
        }
        client.open_stream().await?;
        if endpoint.tls == TlsMode::Starttls {
            client = client.starttls(endpoint).await?;
            client.open_stream().await?;
        }
        Ok(client)
    }

    /// [`connect`](Self::connect) and [`login`](Self::login).
    ///
    /// # Errors
    /// As these two.
    pub async fn session(endpoint: &Endpoint, login: &Login) -> Result<Self, ClientError> {
        let mut client = Self::connect(endpoint, &login.domain).await?;
        client.login(login, endpoint.mechanism).await?;
        Ok(client)
    }

    /// Authenticates and binds the resource.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate) and [`bind`](Self::bind).
    pub async fn login(
        &mut self,
        login: &Login,
        mechanism: Option<Mechanism>,
    ) -> Result<(), ClientError> {
        self.authenticate(login, mechanism).await?;
        self.bind(login.resource.as_deref()).await
    }

    /// Negotiates STARTTLS on an open stream (RFC 6120 section 5.4); the stream must be opened
    /// again afterwards.
    ///
    /// # Errors
    /// When the server doesn't offer or refuses it, or the handshake fails.
    pub async fn starttls(mut self, endpoint: &Endpoint) -> Result<Self, ClientError> {
        if !self
            .features
            .as_ref()
            .is_some_and(|f| f.contains("urn:ietf:params:xml:ns:xmpp-tls"))
        {
            return Err(ClientError::NoStartTls);
        }
        self.queue("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let answer = self.step().await?;
        if !answer.is("proceed") {
            return Err(ClientError::Unexpected(answer));
        }
        self.splitter = Splitter::default();
        self.into_tls(endpoint).await
    }

    /// Begins TLS on the connection as it is now.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn into_tls(mut self, endpoint: &Endpoint) -> Result<Self, ClientError> {
        let Transport::Plain(socket) = self.transport else {
            return Ok(self);
        };
        let name =
            ServerName::try_from(self.domain.clone()).map_err(|_| TlsSetupError::ServerName)?;
        let connector = TlsConnector::from(tls::config(endpoint)?);
        let stream = timeout(self.step_timeout, connector.connect(name, socket))
            .await
            .map_err(|_| ClientError::Timeout(self.step_timeout))??;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(self)
    }

    /// Sends a stream header and waits for the server's header and features.
    ///
    /// # Errors
    /// When something else comes, or nothing in time.
    pub async fn open_stream(&mut self) -> Result<(), ClientError> {
        self.splitter.restart();
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            escape(&self.domain)
        );
        self.queue(&header);
        self.features = None;
        let features = self.step().await?;
        if !features.is("features") {
            return Err(ClientError::Unexpected(features));
        }
        self.features = Some(features);
        Ok(())
    }

    /// SASL with the demanded mechanism, else the strongest that is offered (without channel
    /// binding), and the new stream after it.
    ///
    /// # Errors
    /// When no mechanism suits, the server refuses, or its signature is wrong.
    pub async fn authenticate(
        &mut self,
        login: &Login,
        mechanism: Option<Mechanism>,
    ) -> Result<(), ClientError> {
        let mechanism = match mechanism {
            Some(demanded) => demanded,
            None => self.strongest_mechanism()?,
        };
        match mechanism {
            Mechanism::Plain => self.plain(login).await?,
            _ => self.scram(login, mechanism).await?,
        }
        self.open_stream().await
    }

    fn strongest_mechanism(&self) -> Result<Mechanism, ClientError> {
        let features = self.features.as_ref().ok_or(ClientError::Closed)?;
        [
            Mechanism::ScramSha256,
            Mechanism::ScramSha1,
            Mechanism::Plain,
        ]
        .into_iter()
        .find(|m| features.contains(&format!(">{}<", m.name())))
        .ok_or_else(|| ClientError::NoMechanism(features.clone()))
    }

    async fn plain(&mut self, login: &Login) -> Result<(), ClientError> {
        self.queue(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{}</auth>",
            sasl::plain(&login.user, &login.password)
        ));
        self.sasl_answer("success").await.map(drop)
    }

    async fn scram(&mut self, login: &Login, mechanism: Mechanism) -> Result<(), ClientError> {
        let binding = match mechanism {
            Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus => Some(self.tls_exporter()?),
            _ => None,
        };
        let nonce = format!("{:032x}", rand::random::<u128>());
        let scram = Scram::new(mechanism, &login.user, &login.password, nonce, binding);
        self.queue(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{}'>{}</auth>",
            mechanism.name(),
            scram.first()
        ));
        let challenge = self.sasl_answer("challenge").await?;
        let (answer, signature) =
            scram.answer(&challenge.text_of("challenge").unwrap_or_default())?;
        self.queue(&format!(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"
        ));
        let success = self.sasl_answer("success").await?;
        signature.check(&success.text_of("success").unwrap_or_default())
    }

    async fn sasl_answer(&mut self, wanted: &str) -> Result<Stanza, ClientError> {
        let answer = self.step().await?;
        match answer.name() {
            name if name == wanted => Ok(answer),
            "failure" => Err(ClientError::AuthRefused(answer)),
            _ => Err(ClientError::Unexpected(answer)),
        }
    }

    /// The tls-exporter channel binding (RFC 9266).
    fn tls_exporter(&self) -> Result<[u8; 32], ClientError> {
        let Transport::Tls(stream) = &self.transport else {
            return Err(ClientError::NoStartTls);
        };
        let exported = stream.get_ref().1.export_keying_material(
            [0; 32],
            b"EXPORTER-Channel-Binding",
            Some(b""),
        );
        Ok(exported.map_err(TlsSetupError::from)?)
    }

    /// Binds a resource (RFC 6120 section 7); [`jid`](Self::jid) is set afterwards.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bind(&mut self, resource: Option<&str>) -> Result<(), ClientError> {
        let resource = resource.map_or_else(String::new, |r| {
            format!("<resource>{}</resource>", escape(r))
        });
        self.queue(&format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}\
             </bind></iq>"
        ));
        let answer = self
            .expect(self.step_timeout, |s| {
                s.is("iq") && s.raw_attr("id") == Some("bind")
            })
            .await?;
        match answer.text_of("jid") {
            Some(jid) if answer.raw_attr("type") == Some("result") => {
                self.jid = jid.into_owned();
                Ok(())
            }
            _ => Err(ClientError::Refused(answer)),
        }
    }
}
