//! The byte stream of a connection: plain at first perhaps, TLS later. Reading and writing are
//! polled together, so that a peer that only writes can't stop us from writing, nor the other way
//! round. The read buffer lives on the stack of the poll: an idle connection holds none.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What one read takes at most: a TLS record.
const READ: usize = 16 * 1024;
/// A write buffer that grew beyond this is given back when it is empty.
const KEEP: usize = 4 * 1024;

/// A connection.
pub(crate) enum Io {
    Plain(TcpStream),
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// Between plain and TLS, while the handshake owns the socket, and after the end.
    Gone,
}

/// What happened on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IoEvent {
    /// The sink was given bytes.
    Read,
    /// The peer closed its side.
    Eof,
    /// All that was to be written is written and flushed.
    Written,
    /// Reading or writing failed.
    Broken,
}

/// The name of a TLS version, for people.
pub(crate) fn tls_version(version: Option<rustls::ProtocolVersion>) -> &'static str {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "unknown",
    }
}

impl Io {
    /// The plain socket, for a handshake. The connection is `Gone` meanwhile.
    pub(crate) fn take_plain(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Gone) {
            Self::Plain(socket) => Some(socket),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Waits for the next event: writes `out` as far as it goes and, if `reading`, gives what comes
    /// in to `sink`. Cancel-safe: what was written has left `out`, what was read is in the sink.
    /// With nothing to write and not `reading`, it never returns.
    pub(crate) async fn event(
        &mut self,
        out: &mut BytesMut,
        needs_flush: &mut bool,
        reading: bool,
        mut sink: impl FnMut(&[u8]),
    ) -> IoEvent {
        poll_fn(|cx| {
            if let Poll::Ready(event) = self.poll_write_out(cx, out, needs_flush) {
                return Poll::Ready(event);
            }
            if !reading {
                return Poll::Pending;
            }
            let mut space = [std::mem::MaybeUninit::<u8>::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut space);
            match self.poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(_)) => Poll::Ready(IoEvent::Broken),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(IoEvent::Eof),
                Poll::Ready(Ok(())) => {
                    sink(buffer.filled());
                    Poll::Ready(IoEvent::Read)
                }
            }
        })
        .await
    }

    /// Writes all of `out`, without reading.
    pub(crate) async fn write_all(&mut self, out: &mut BytesMut) -> std::io::Result<()> {
        let mut needs_flush = !out.is_empty();
        if !needs_flush {
            return Ok(());
        }
        match poll_fn(|cx| self.poll_write_out(cx, out, &mut needs_flush)).await {
            IoEvent::Written => Ok(()),
            _ => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Says goodbye: TLS close_notify and FIN, as far as it goes without waiting long.
    pub(crate) async fn shutdown(&mut self) {
        let goodbye = poll_fn(|cx| match self {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Server(io) => Pin::new(io).poll_shutdown(cx),
            Self::Client(io) => Pin::new(io).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        });
        let _late = tokio::time::timeout(std::time::Duration::from_secs(2), goodbye).await;
    }

    /// Reads until the peer closes its side, and drops what comes.
    pub(crate) async fn read_away(&mut self) {
        let (mut nothing, mut flushed) = (BytesMut::new(), false);
        while self.event(&mut nothing, &mut flushed, true, |_| {}).await == IoEvent::Read {}
    }

    fn poll_write_out(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        needs_flush: &mut bool,
    ) -> Poll<IoEvent> {
        if out.is_empty() && !*needs_flush {
            return Poll::Pending;
        }
        while !out.is_empty() {
            *needs_flush = true;
            match self.poll_write(cx, out) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_) | Ok(0)) => return Poll::Ready(IoEvent::Broken),
                Poll::Ready(Ok(count)) => out.advance(count),
            }
        }
        match self.poll_flush(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(IoEvent::Broken),
            Poll::Ready(Ok(())) => {
                *needs_flush = false;
                if out.capacity() > KEEP {
                    *out = BytesMut::new();
                }
                Poll::Ready(IoEvent::Written)
            }
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Server(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Client(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Server(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Client(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Ok(0)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Server(io) => Pin::new(io).poll_flush(cx),
            Self::Client(io) => Pin::new(io).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
