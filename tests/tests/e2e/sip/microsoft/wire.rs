//! Connections of the peer: one that it opens, any number that others open to it; responses find the
//! request that they answer, requests find the peer's rules.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use entente_load::sip::{Identity, SipConnection, SipText, client_config, server_config, token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::harness::{PATIENCE, within};

/// What the rules of the peer say to a request: bytes to send back on the same connection.
pub trait Rules: Send + Sync + 'static {
    fn arrived(self: &Arc<Self>, request: SipText) -> Vec<Bytes>;
    /// A response that answers nothing.
    fn stray(&self, response: &SipText);
}

/// All connections.
pub struct Wire {
    pub address: SocketAddr,
    targets: Vec<SocketAddr>,
    server_name: ServerName<'static>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    pending: Mutex<HashMap<String, oneshot::Sender<SipText>>>,
    outbound: tokio::sync::Mutex<Option<mpsc::Sender<Bytes>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    /// Connections that were accepted, ever.
    accepted: std::sync::atomic::AtomicUsize,
}

impl Wire {
    pub fn new(
        identity: &Identity,
        address: SocketAddr,
        targets: Vec<SocketAddr>,
        name: &str,
    ) -> Self {
        Self {
            address,
            targets,
            server_name: ServerName::try_from(name.to_owned()).unwrap(),
            client: client_config(identity).unwrap(),
            server: server_config(identity).unwrap(),
            pending: Mutex::default(),
            outbound: tokio::sync::Mutex::default(),
            tasks: Mutex::default(),
            accepted: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    pub fn via(&self) -> String {
        format!("SIP/2.0/TLS {};branch=z9hG4bK{}", self.address, token())
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Begins to listen.
    pub async fn listen(self: &Arc<Self>, rules: Arc<impl Rules>) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let wire = Arc::clone(self);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (wire, rules) = (Arc::clone(&wire), Arc::clone(&rules));
                tokio::spawn(async move {
                    // A refused certificate is the other side's problem.
                    let accepted =
                        SipConnection::accept(stream, Some(Arc::clone(&wire.server))).await;
                    if let Ok(connection) = accepted {
                        wire.accepted
                            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        wire.run(connection, rules, false);
                    }
                });
            }
        });
        self.tasks.lock().unwrap().push(task);
    }

    fn run(
        self: &Arc<Self>,
        connection: SipConnection,
        rules: Arc<impl Rules>,
        ours: bool,
    ) -> mpsc::Sender<Bytes> {
        let (mut reader, mut writer) = connection.split();
        let (send, mut outgoing) = mpsc::channel::<Bytes>(1024);
        // When nothing more can come, nothing more is sent there.
        let ended = Arc::new(Notify::new());
        let seen = Arc::clone(&ended);
        let writing = tokio::spawn(async move {
            loop {
                let bytes = tokio::select! {
                    bytes = outgoing.recv() => bytes,
                    () = seen.notified() => None,
                };
                let Some(bytes) = bytes else { break };
                if writer.send(&bytes).await.is_err() {
                    return;
                }
            }
            let _gone = writer.close().await;
        });
        let (wire, back) = (Arc::clone(self), send.clone());
        let reading = tokio::spawn(async move {
            while let Ok(Some(message)) = reader.receive().await {
                if message.status().is_some() {
                    wire.response(message, rules.as_ref());
                    continue;
                }
                for bytes in rules.arrived(message) {
                    // It fails when the connection has ended, which the next read shows.
                    let _ended = back.send(bytes).await;
                }
            }
            if ours {
                // Requests go out on this one alone: their answers went with it.
                wire.pending.lock().unwrap().clear();
            }
            ended.notify_one();
        });
        self.tasks.lock().unwrap().extend([writing, reading]);
        send
    }

    fn response(&self, response: SipText, rules: &impl Rules) {
        if response.status().is_some_and(|code| code < 200) {
            return;
        }
        let branch = response.branch().unwrap_or("").to_owned();
        let waiting = self.pending.lock().unwrap().remove(&branch);
        match waiting {
            Some(waiting) => drop(waiting.send(response)),
            None => rules.stray(&response),
        }
    }

    /// Sends on the connection that we opened; opens it if there is none.
    pub async fn send(self: &Arc<Self>, bytes: Bytes, rules: &Arc<impl Rules>) -> io::Result<()> {
        let mut outbound = self.outbound.lock().await;
        if let Some(open) = outbound.as_ref().filter(|open| !open.is_closed())
            && open.send(bytes.clone()).await.is_ok()
        {
            return Ok(());
        }
        let connection = self.connect().await?;
        let open = self.run(connection, Arc::clone(rules), true);
        let _queued = open.send(bytes).await;
        *outbound = Some(open);
        Ok(())
    }

    /// The first target that answers.
    async fn connect(&self) -> io::Result<SipConnection> {
        let mut failure = io::ErrorKind::NotFound.into();
        for target in &self.targets {
            let tls = (Arc::clone(&self.client), self.server_name.clone());
            match SipConnection::connect(*target, Some(self.address.ip()), Some(tls)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends a request and waits for the final answer to it.
    pub async fn ask(self: &Arc<Self>, request: Bytes, rules: &Arc<impl Rules>) -> SipText {
        let text = String::from_utf8_lossy(&request).into_owned();
        let answer = self.try_ask(request, rules);
        within(&format!("an answer to\n{text}"), PATIENCE, answer)
            .await
            .unwrap_or_else(|| panic!("the connection broke under\n{text}"))
    }

    /// The same; `None` when the connection under it breaks or can't be had.
    pub async fn try_ask(
        self: &Arc<Self>,
        request: Bytes,
        rules: &Arc<impl Rules>,
    ) -> Option<SipText> {
        let text = SipText::take(&mut bytes::BytesMut::from(&request[..]))
            .unwrap()
            .unwrap();
        let (answer, answered) = oneshot::channel();
        let branch = text.branch().unwrap().to_owned();
        self.pending.lock().unwrap().insert(branch, answer);
        self.send(request, rules).await.ok()?;
        answered.await.ok()
    }

    /// Breaks all connections, as a restart does.
    pub async fn hang_up(&self) {
        *self.outbound.lock().await = None;
        // The first task listens.
        for task in self.tasks.lock().unwrap().drain(1..) {
            task.abort();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }
}
