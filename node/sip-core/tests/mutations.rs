//! Seeded mutations of the corpus through the fuzz targets' entry functions: what runs where
//! cargo-fuzz is missing. `MUTATION_SEED` repeats a run, `MUTATIONS` sets how many.
#![expect(
    clippy::print_stderr,
    reason = "a failure has to name the seed that repeats it"
)]

mod corpus;
#[path = "../../../tests/fuzz/src/sip.rs"]
#[allow(unreachable_pub, reason = "shared with another crate")]
mod sip;

const ADDRESSES: [&str; 10] = [
    "sip:alice:secret@[2001:db8::1]:5061;transport=tls;lr?subject=a%20b&to=x",
    "\"A \\\" b\" <sips:%61lice@example.com;opaque=user:epid:X_y;gruu>;tag=12;q=0.3",
    "tel:+1-201-555-0123;phone-context=example.com",
    "pres:alice@example.com",
    "im:bob%20c@example.com?subject=x",
    "Bob Q. <sip:bob@192.0.2.4>;expires=60;+sip.instance=\"<urn:uuid:0>\"",
    "sip:bob@biloxi.com;tag=8;x",
    "SIP/2.0/TLS edge.example.com:5061;branch=z9hG4bKabc;rport;received=192.0.2.1;alias",
    "SIP / 2.0 / UDP [2001:db8::9:1] : 5060 ; branch = z9hG4bK ; maddr=\"x\"",
    "urn:service:sos",
];

/// Pieces that a random byte would hardly ever make.
const FRAGMENTS: [&str; 36] = [
    "\r\n",
    "\r",
    "\n",
    "\r\n ",
    "\r\n\t",
    "\r\n\r\n",
    " ",
    ":",
    ";",
    ",",
    "<",
    ">",
    "\"",
    "\\",
    "=",
    "@",
    "%",
    "%00",
    "%41",
    "[",
    "]",
    "::",
    "?",
    "&",
    "\0",
    "\u{7f}",
    "\u{e9}",
    ";tag=1",
    ";lr",
    "l: 3\r\n",
    "Content-Length: -1\r\n",
    "Via: ",
    "SIP/2.0",
    "9999999999",
    "*",
    "<sip:x@y>",
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
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len());
            let end = (at + self.below(40)).min(bytes.len());
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

fn run(corpus: &[Vec<u8>], entry: impl Fn(&[u8])) {
    let seed = setting("MUTATION_SEED", 20_260_901);
    let mut random = Random(seed | 1);
    for number in 0..setting("MUTATIONS", 2_500) {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        random.mutate(&mut bytes);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry(&bytes)));
        if let Err(cause) = outcome {
            let text = String::from_utf8_lossy(&bytes);
            eprintln!("seed {seed}, number {number}: {text:?}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn messages() {
    // The first byte says how the stream is cut; a second message shows that framing holds.
    let next = corpus::read("usual", "message");
    let mut corpus: Vec<Vec<u8>> = corpus::all()
        .into_iter()
        .map(|(of, name)| [b"\x07".as_slice(), &corpus::read(of, &name), &next].concat())
        .collect();
    corpus.push(
        [
            b"\x03\r\n\r\n".as_slice(),
            &corpus::read("usual", "invite"),
            b"\r\n",
        ]
        .concat(),
    );
    run(&corpus, sip::message);
}

#[test]
fn addresses() {
    let corpus: Vec<Vec<u8>> = ADDRESSES.map(|text| text.as_bytes().to_vec()).into();
    run(&corpus, sip::uri);
}
