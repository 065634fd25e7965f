//! How fast a stream of messages is framed on one core: `cargo run --release -p entente-xmpp-core
//! --example framing_speed`.
#![expect(clippy::print_stdout, reason = "the figures are the point")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use entente_xmpp_core::framer::{Frame, Framer, Limits};
use entente_xmpp_core::jid::Jid;

const HEADER: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='example.com' version='1.0'>";
/// As a client sends it: about 300 bytes.
const MESSAGE: &str = "<message to='romeo@montague.example/orchard' id='8f1ab0b9' type='chat'>\
    <body>Art thou not Romeo, and a Montague? Neither, fair saint, if either thee dislike.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='8f1ab0b9'/></message>";
const READ: usize = 16 * 1024;

fn main() {
    let explicit = MESSAGE.replacen("<message ", "<message xmlns='jabber:client' ", 1);
    let foreign = MESSAGE.replacen("Art thou", "Bist du’s", 1);
    measure("canonical", MESSAGE, false);
    measure("canonical, stamped", MESSAGE, true);
    measure("xmlns on each stanza", &explicit, false);
    measure("text beyond ASCII", &foreign, false);
}

fn measure(what: &str, message: &str, stamp: bool) {
    let stream = message.repeat(20_000);
    let sender = Jid::new("juliet@capulet.example/balcony").expect("an address");
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let mut framer = Framer::new(Limits::AUTHENTICATED);
        framer.push(HEADER.as_bytes());
        let start = Instant::now();
        let mut stanzas = 0;
        for read in stream.as_bytes().chunks(READ) {
            framer.push(read);
            while let Some(frame) = framer.next_frame().expect("well-formed") {
                if let Frame::Stanza(stanza) = frame {
                    stanzas += 1;
                    if stamp {
                        black_box(stanza.restamped(Some(&sender), None));
                    }
                    black_box(stanza);
                }
            }
        }
        assert_eq!(stanzas, 20_000);
        best = best.min(start.elapsed());
    }
    let seconds = best.as_secs_f64();
    println!(
        "{what}: {} bytes, {:.0} MB/s, {:.0} ns each",
        message.len(),
        stream.len() as f64 / seconds / 1e6,
        seconds * 1e9 / 20_000.0
    );
}
