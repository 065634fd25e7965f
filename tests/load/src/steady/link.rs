//! One user's connection that comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use entente_load::{Client, ClientError, Login, ResumeState};
use tokio::time::sleep;

use super::Counters;
use crate::fleet::Fleet;
use crate::options::ResumePolicy;

/// How a link behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkConfig {
    pub(crate) resume: ResumePolicy,
    pub(crate) step_timeout: Duration,
    pub(crate) retry: Duration,
    pub(crate) dead_after: Duration,
}

/// A user with a fixed resource, the list of addresses, and what is left of the last connection.
pub(crate) struct Link {
    fleet: Arc<Fleet>,
    login: Login,
    at: usize,
    /// Where the state below comes from.
    state_at: usize,
    state: Option<ResumeState>,
    config: LinkConfig,
}

/// A connection, and what the server may not have got.
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// Acked late, by the answer to the attempt to resume.
    pub(crate) acked: Vec<u64>,
    /// To send again with the same ids. Empty after a resumption: the client has done it.
    pub(crate) resend: Vec<u64>,
}

impl Link {
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        number: u32,
        first_address: usize,
        config: LinkConfig,
    ) -> Self {
        let login = fleet.account(number).with_resource("steady");
        Self {
            fleet,
            login,
            at: first_address,
            state_at: first_address,
            state: None,
            config,
        }
    }

    pub(crate) fn config(&self) -> LinkConfig {
        self.config
    }

    /// The first connection: each address once, then the last error.
    pub(crate) async fn first(&mut self) -> Result<Client, ClientError> {
        let mut tries = self.fleet.addresses.len();
        loop {
            tries -= 1;
            match self.attempt(&Counters::default()).await {
                Ok(connected) => return Ok(connected.client),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => self.at += 1,
            }
        }
    }

    /// Keeps what resumption needs of a connection that broke.
    pub(crate) fn broke(&mut self, client: Client, counters: &Counters) {
        Counters::add(&counters.breaks, 1);
        self.state = client.into_resume_state();
        self.state_at = self.at;
    }

    /// Forgets the last session: the next one is new.
    pub(crate) fn forget(&mut self) {
        self.state = None;
    }

    /// Tries until a session is there: first at the old address (a broken connection is no proof of
    /// a dead server), then at the others in turn.
    pub(crate) async fn reconnect(&mut self, counters: &Counters) -> Connected {
        let mut attempts = 0;
        loop {
            match self.attempt(counters).await {
                Ok(connected) => return connected,
                Err(_) => {
                    Counters::add(&counters.failed_attempts, 1);
                    self.at += 1;
                    attempts += 1;
                    if attempts % self.fleet.addresses.len() == 0 {
                        let jitter = 0.5 + rand::random::<f64>();
                        sleep(self.config.retry.mul_f64(jitter)).await;
                    }
                }
            }
        }
    }

    async fn attempt(&mut self, counters: &Counters) -> Result<Connected, ClientError> {
        let mut endpoint = self.fleet.endpoint(self.at);
        endpoint.step_timeout = self.config.step_timeout;
        let mut client = Client::connect(&endpoint, &self.login.domain).await?;
        client.authenticate(&self.login, endpoint.mechanism).await?;

        let had_state = self.state.is_some();
        let mut acked = Vec::new();
        if self.may_resume() {
            client.try_resume(&mut self.state).await?;
            if self.state.is_none() {
                Counters::add(&counters.resumed, 1);
                acked = client.take_acked();
                client.flush().await?;
                return Ok(Connected {
                    client,
                    acked,
                    resend: Vec::new(),
                });
            }
        }
        client.bind(self.login.resource.as_deref()).await?;
        client
            .enable_sm(self.config.resume != ResumePolicy::Never)
            .await?;
        client.send("<presence/>").await?;
        let mut resend = Vec::new();
        if let Some(mut state) = self.state.take() {
            acked = state.take_acked();
            resend = state.unacked_tags();
        }
        if had_state {
            Counters::add(&counters.bound_anew, 1);
            Counters::add(&counters.resent, resend.len() as u64);
        }
        Ok(Connected {
            client,
            acked,
            resend,
        })
    }

    fn may_resume(&self) -> bool {
        let addresses = self.fleet.addresses.len();
        let here = self.at % addresses == self.state_at % addresses;
        let allowed = match self.config.resume {
            ResumePolicy::Never => false,
            ResumePolicy::Same => here,
            ResumePolicy::Any => true,
        };
        allowed && self.state.as_ref().is_some_and(ResumeState::resumable)
    }
}
