//! The senders of one connection.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use entente_load::histogram::Histogram;
use entente_load::sip::{SipConnection, SipReader, SipSender, SipText, SipWriter, token, uri_of};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};

use super::{MEASURING, Run, STOPPED};
use crate::options::{SipArgs, SipMode};

/// How long the answer to an invitation, or the last answers of a run, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection with its senders.
pub(super) struct Sender {
    run: Arc<Run>,
    reader: SipReader,
    writer: SipSender,
    window: u32,
    talks: Vec<Talk>,
    /// Texts under way: the place in the branch is the place here.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Goes into branches, so that no two connections have the same.
    name: String,
    via: String,
    text: String,
    histogram: Histogram,
}

/// One sender and its receiver.
struct Talk {
    from: String,
    to: String,
    target: String,
    routes: Vec<String>,
    /// Of the session; in pager mode each text has its own.
    call_id: Option<String>,
    cseq: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    talk: usize,
    since: Instant,
}

impl Sender {
    /// Connects; sender n of the run belongs to connection n modulo their number.
    pub(super) async fn connect(
        run: &Arc<Run>,
        args: &SipArgs,
        tls: Arc<ClientConfig>,
        number: u32,
    ) -> anyhow::Result<Self> {
        let server = args.to[number as usize % args.to.len()];
        let name = ServerName::try_from(args.domain.clone())?;
        let own = args.own_address;
        let connection = SipConnection::connect(server, Some(own.ip()), Some((tls, name))).await?;
        let (reader, writer) = connection.split();
        let talks = (1..=args.senders)
            .filter(|n| (n - 1) % args.connections == number)
            .map(|n| Talk {
                from: format!("<sip:s{n}@{}>;tag={}", args.own_domain, token()),
                to: format!("<sip:u{n}@{}>", args.domain),
                target: format!("sip:u{n}@{}", args.domain),
                routes: Vec::new(),
                call_id: None,
                cseq: 0,
            })
            .collect();
        let mut sender = Self {
            run: Arc::clone(run),
            reader,
            writer,
            window: args.window,
            talks,
            slots: Vec::new(),
            free: Vec::new(),
            name: token(),
            via: format!("SIP/2.0/TLS {own};alias"),
            text: "x".repeat(args.body as usize),
            histogram: Histogram::default(),
        };
        if args.mode == SipMode::Session {
            for index in 0..sender.talks.len() {
                sender
                    .invite(index, &format!("<sip:{}@{own};transport=tls>", "gateway"))
                    .await?;
            }
        }
        Ok(sender)
    }

    async fn invite(&mut self, index: usize, contact: &str) -> anyhow::Result<()> {
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
        self.talks[index].call_id = Some(token());
        let request = self
            .request(index, "INVITE", "invite")
            .header("contact", contact)
            .body("application/sdp", sdp.as_bytes());
        self.writer.send(&request).await?;
        let answer = loop {
            let message = timeout(PATIENCE, self.reader.receive()).await??;
            let message = message.ok_or_else(|| anyhow::anyhow!("closed during INVITE"))?;
            if message.status().is_some_and(|code| code >= 200) {
                break message;
            }
        };
        anyhow::ensure!(answer.status() == Some(200), "INVITE: {answer}");
        let talk = &mut self.talks[index];
        answer.header("to").unwrap_or("").clone_into(&mut talk.to);
        uri_of(answer.header("contact").unwrap_or("")).clone_into(&mut talk.target);
        talk.routes = answer
            .values("record-route")
            .iter()
            .rev()
            .map(|&route| route.to_owned())
            .collect();
        talk.cseq -= 1;
        let ack = self.request(index, "ACK", "ack").end();
        self.writer.send(&ack).await?;
        Ok(())
    }

    fn request(&mut self, index: usize, method: &str, branch: &str) -> SipWriter {
        let talk = &mut self.talks[index];
        talk.cseq += 1;
        let mut writer = SipWriter::new(format_args!("{method} {} SIP/2.0", talk.target))
            .header(
                "via",
                format_args!(
                    "{};branch=z9hG4bK{}.{branch}.{index}.{}",
                    self.via, self.name, talk.cseq
                ),
            )
            .header("max-forwards", 70);
        for route in &talk.routes {
            writer = writer.header("route", route);
        }
        writer = writer.header("from", &talk.from).header("to", &talk.to);
        writer = match &talk.call_id {
            Some(call_id) => writer.header("call-id", call_id),
            None => writer.header(
                "call-id",
                format_args!("{}.{index}.{}", self.name, talk.cseq),
            ),
        };
        writer.header("cseq", format_args!("{} {method}", talk.cseq))
    }

    fn message(&mut self, talk: usize) -> Bytes {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Slot {
            talk,
            since: Instant::now(),
        });
        let text = std::mem::take(&mut self.text);
        let message = self
            .request(talk, "MESSAGE", &slot.to_string())
            .body("text/plain;charset=UTF-8", text.as_bytes());
        self.text = text;
        message
    }

    /// Sends until the run is stopped; then waits for the last answers.
    pub(super) async fn run(mut self) -> Histogram {
        let run = Arc::clone(&self.run);
        if let Err(error) = self.talk().await {
            run.broke("sender", &error);
        }
        self.histogram
    }

    async fn talk(&mut self) -> std::io::Result<()> {
        // One text first: a relay opens its connection onward then, and only once.
        let mut out = vec![self.message(0)];
        let mut full = false;
        loop {
            self.writer.send_all(&out).await?;
            out.clear();
            if self.free.len() == self.slots.len() {
                return Ok(());
            }
            let mut next = match timeout(PATIENCE, self.reader.receive()).await {
                Ok(received) => received?,
                Err(_) => return Err(std::io::ErrorKind::TimedOut.into()),
            };
            if next.is_none() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            while let Some(message) = next {
                if message.method().is_some() {
                    out.push(message.answer(200, "OK", "gateway").end());
                } else if let Some(talk) = self.answered(&message)
                    && !self.run.is(STOPPED)
                {
                    out.push(self.message(talk));
                }
                next = self.reader.ready()?;
            }
            if !full && !out.is_empty() {
                full = true;
                let missing = self.talks.len() * self.window as usize - 1;
                out.extend((0..missing).map(|n| self.message((n + 1) % self.talks.len())));
            }
        }
    }

    /// A response: gives the sender whose window has room now.
    fn answered(&mut self, response: &SipText) -> Option<usize> {
        let code = response.status()?;
        let branch = response.branch()?;
        let slot: usize = branch.split('.').nth(1)?.parse().ok()?;
        if code < 200 {
            return None;
        }
        let done = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        if code == 200 {
            self.run.answered.fetch_add(1, Relaxed);
        } else {
            self.run.refused.fetch_add(1, Relaxed);
            if self.run.refused.load(Relaxed) == 1 {
                crate::report::progress(format_args!("refused:\n{response}"));
            }
        }
        if self.run.is(MEASURING) {
            self.histogram.record(done.since.elapsed());
        }
        Some(done.talk)
    }
}
