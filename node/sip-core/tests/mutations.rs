//! Seeded mutations of real traffic through the fuzz targets' entry functions; see `seeded`.
#![expect(
    clippy::print_stderr,
    reason = "a failure has to name the seed that repeats it"
)]

mod corpus;
#[path = "../../../tests/fuzz/src/seeded.rs"]
#[allow(unreachable_pub, reason = "shared with other crates")]
mod seeded;
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

const INVITATIONS: [&[u8]; 2] = [
    b"v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nc=IN IP4 h\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\nm=message 5060 sip null\r\na=accept-types:text/plain text/html\r\n",
    b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nm=x-ms-message 5060 sip null\r\n\r\n--b\r\nContent-Type: text/x\r\n\r\nx\r\n--b--",
];

const RUNS: u64 = 2_500;

/// Pieces that a random byte would hardly ever make.
const FRAGMENTS: [&str; 40] = [
    "m=data 1 sip x",
    "--b",
    "--b--",
    "m=message 5060 sip null",
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
    seeded::run(&corpus, &FRAGMENTS, RUNS, sip::message);
}

#[test]
fn addresses() {
    let corpus: Vec<Vec<u8>> = ADDRESSES.map(|text| text.as_bytes().to_vec()).into();
    seeded::run(&corpus, &FRAGMENTS, RUNS, sip::uri);
}

#[test]
fn invitations() {
    let corpus: Vec<Vec<u8>> = INVITATIONS.map(<[u8]>::to_vec).into();
    seeded::run(&corpus, &FRAGMENTS, RUNS, sip::invitation);
}
