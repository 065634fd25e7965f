//! Our own server: whoever connects and sends is answered 200.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use entente_load::sip::{SipConnection, SipText};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Run;

/// Begins to listen; the task ends with the set.
pub(super) async fn listen(
    tasks: &mut JoinSet<()>,
    run: &Arc<Run>,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let run = Arc::clone(run);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(Arc::clone(&run), stream, Arc::clone(&tls)));
        }
    });
    Ok(())
}

async fn serve(run: Arc<Run>, stream: TcpStream, tls: Arc<ServerConfig>) {
    let connection = match SipConnection::accept(stream, Some(tls)).await {
        Ok(connection) => connection,
        Err(error) => return run.broke("sink", &error),
    };
    let (mut reader, mut writer) = connection.split();
    loop {
        let mut next = match reader.receive().await {
            Ok(Some(message)) => Some(message),
            Ok(None) => return,
            Err(error) => return run.broke("sink", &error),
        };
        let mut answers = Vec::new();
        while let Some(message) = next {
            if let Some(answer) = answer(&run, &message) {
                answers.push(answer);
            }
            next = match reader.ready() {
                Ok(next) => next,
                Err(error) => return run.broke("sink", &error),
            };
        }
        if let Err(error) = writer.send_all(&answers).await {
            return run.broke("sink", &error);
        }
    }
}

fn answer(run: &Run, message: &SipText) -> Option<bytes::Bytes> {
    match message.method()? {
        "ACK" => return None,
        "MESSAGE" => drop(run.received.fetch_add(1, Relaxed)),
        _ => {}
    }
    Some(message.answer(200, "OK", "sink").end())
}
