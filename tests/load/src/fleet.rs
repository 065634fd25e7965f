//! Many clients at once: who they are and how they log in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use entente_load::{Client, Endpoint, Login, Trust};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::options::Common;

/// The accounts of one domain, and the addresses of its server.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) domain: String,
    pub(crate) addresses: Vec<SocketAddr>,
    common: Common,
}

/// What clients do right after binding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeting {
    pub(crate) presence: bool,
    pub(crate) sm: bool,
}

impl Fleet {
    pub(crate) fn new(domain: &str, addresses: &[SocketAddr], common: &Common) -> Self {
        Self {
            domain: domain.to_owned(),
            addresses: addresses.to_vec(),
            common: common.clone(),
        }
    }

    /// The endpoint at one of the addresses, counted round.
    pub(crate) fn endpoint(&self, number: usize) -> Endpoint {
        let address = self.addresses[number % self.addresses.len()];
        let trust = match &self.common.ca {
            Some(path) => Trust::CaFile(path.clone()),
            None => Trust::Anything,
        };
        let endpoint = Endpoint::starttls(address)
            .with_tls(self.common.tls)
            .with_trust(trust);
        match self.common.mechanism {
            Some(mechanism) => endpoint.with_mechanism(mechanism),
            None => endpoint,
        }
    }

    /// The account with this number, from 1 up.
    pub(crate) fn account(&self, number: u32) -> Login {
        Login::new(
            format!("{}{number}", self.common.user_prefix),
            self.domain.as_str(),
            self.common.password.as_str(),
        )
    }

    /// Logs in the given accounts (number, resource), a few at a time; clients in the same order.
    pub(crate) async fn log_in(
        &self,
        who: Vec<(u32, Option<String>)>,
        greeting: Greeting,
    ) -> anyhow::Result<Vec<Client>> {
        let gate = Arc::new(Semaphore::new(self.common.login_concurrency.max(1)));
        let mut tasks = JoinSet::new();
        let mut clients: Vec<Option<Client>> = who.iter().map(|_| None).collect();
        for (index, (number, resource)) in who.into_iter().enumerate() {
            let permit = gate.clone().acquire_owned().await?;
            let mut endpoint = self.endpoint(index);
            // Thousands of logins at once on two cores: a slow one is no failure of the server.
            endpoint.step_timeout = Duration::from_secs(30);
            let mut login = self.account(number);
            login.resource = resource;
            tasks.spawn(async move {
                let client = greeted(&endpoint, &login, greeting)
                    .await
                    .with_context(|| format!("{} at {}", login.bare(), endpoint.address));
                drop(permit);
                (index, client)
            });
            while let Some(done) = tasks.try_join_next() {
                let (index, client) = done?;
                clients[index] = Some(client?);
            }
        }
        while let Some(done) = tasks.join_next().await {
            let (index, client) = done?;
            clients[index] = Some(client?);
        }
        Ok(clients.into_iter().flatten().collect())
    }
}

async fn greeted(
    endpoint: &Endpoint,
    login: &Login,
    greeting: Greeting,
) -> Result<Client, entente_load::ClientError> {
    let mut client = Client::session(endpoint, login).await?;
    if greeting.sm {
        client.enable_sm(false).await?;
    }
    if greeting.presence {
        client.send("<presence/>").await?;
        // The own presence comes back when the server has processed it: from then on messages
        // to the bare address reach this client.
        let jid = client.jid().to_owned();
        client
            .expect(endpoint.step_timeout, |s| {
                s.is("presence") && s.attr("from").as_deref() == Some(&jid)
            })
            .await?;
    }
    Ok(client)
}
