//! Seeded mutations of real traffic through the fuzz targets' entry functions: what runs where
//! cargo-fuzz is missing. `MUTATION_SEED` repeats a run, `MUTATIONS` sets how many.
#![expect(
    clippy::print_stderr,
    reason = "a failure has to name the seed that repeats it"
)]

#[path = "../../../tests/fuzz/src/xmpp.rs"]
#[allow(unreachable_pub, reason = "shared with another crate")]
mod xmpp;

const STREAMS: &[&str] = &[
    "<?xml version='1.0' encoding='utf-8'?><stream:stream xmlns='jabber:client' \
     xmlns:stream='http://etherx.jabber.org/streams' xmlns:p='urn:p' to='a.example' version='1.0'>\
     <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/> <message xmlns='jabber:client' to='b@x/y' \
     id=\"1\"><body>a &lt;\u{e9}\u{1F600} ]] &#x41;</body><x xmlns='urn:x'><![CDATA[</x>]]]></x>\
     </message><r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='12'/><iq type='get' id='1'>\
     <p:q p:a='>'/></iq><presence><show>away</show><priority>-5</priority></presence>\
     </stream:stream>",
    "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' from='a' to='b' \
     xmlns:stream='http://etherx.jabber.org/streams'><db:result from='a' to='b'>key</db:result>\
     <message from='a@a' to='b@b' xml:lang='en'><body xmlns='jabber:server'>x</body>\
     <z:f xmlns:z='urn:z' z:a='1' a='2'><db:x/></z:f></message><iq type='set' id='2'/>",
];

const STANZAS: &[&str] = &[
    "<message from='a@x/1' to='b@y' id='&lt;1' type='chat' xml:lang='de'><body>hi &amp; ho</body>\
     <active xmlns='http://jabber.org/protocol/chatstates'/><x xmlns='urn:x' xmlns:y='urn:y' \
     y:z=''><y:w/></x></message>",
    "<iq type='get' id='1' to='\u{e9}@\u{fc}.example'><query xmlns='jabber:iq:roster'/></iq>",
    "<presence type='unavailable' ><status>a\r\n\tb</status><show> dnd </show></presence >",
];

/// Pieces of markup that a random byte would hardly ever make.
const FRAGMENTS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "'",
    "\"",
    "&",
    "&#",
    "&lt;",
    "]]>",
    "<![CDATA[",
    "<!--",
    "<?x?>",
    " xmlns=''",
    " xmlns='jabber:client'",
    " xmlns:p='urn:p'",
    "p:",
    ":",
    "=",
    "\u{ffff}",
    "\u{feff}",
    "</message>",
    "<body>",
    " to='a@b'",
    " id='1'",
    "\0",
    "\u{80}",
];

/// A small generator (xorshift*), so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(30)).min(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let fragment = FRAGMENTS[self.below(FRAGMENTS.len())];
                    bytes.splice(at..at, fragment.bytes());
                }
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn run(corpus: &[&str], entry: impl Fn(&[u8])) {
    let seed = setting("MUTATION_SEED", 20_250_801);
    let mut random = Random(seed | 1);
    for number in 0..setting("MUTATIONS", 20_000) {
        let mut bytes = corpus[random.below(corpus.len())].as_bytes().to_vec();
        random.mutate(&mut bytes);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry(&bytes)));
        if let Err(cause) = outcome {
            eprintln!(
                "seed {seed}, number {number}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn xml_stream() {
    let corpus: Vec<String> = STREAMS
        .iter()
        .map(|stream| format!("\u{7}{stream}"))
        .collect();
    let corpus: Vec<&str> = corpus.iter().map(String::as_str).collect();
    run(&corpus, xmpp::xml_stream);
}

#[test]
fn stanza() {
    run(STANZAS, xmpp::stanza);
}
