//! Seeded mutations of real documents and bodies through the fuzz targets' entry functions; see
//! `seeded`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and has to name the seed that repeats it"
)]

#[path = "../../../tests/fuzz/src/interwork.rs"]
#[allow(unreachable_pub, reason = "shared with another crate")]
mod interwork;
#[path = "../../../tests/fuzz/src/seeded.rs"]
#[allow(unreachable_pub, reason = "shared with other crates")]
mod seeded;

/// Bodies behind the byte that says their type; see `interwork::body`.
const BODIES: [&[u8]; 8] = [
    b"\x00caf\xc3\xa9\r\nline\0two",
    b"\x01<DIV style=\"font: 'a>b'\">a &lt;b&gt; &#233;&nbsp;<br/><a href='https://x.example/'>x</a><pre> y </pre><script>z</script><!-- c --></DIV>",
    b"\x02{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0\\fcharset0 A;}{\\f1\\fcharset128 B;}}\\uc1\\f1 \\'82\\'b1\\f0 \\u8364 ?\\par{\\*\\x y}\\bin2 }}\\~b}",
    b"\x03--b\r\nContent-Type: text/html;charset=utf-8\r\n\r\n<p>x</p>\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nY2Fmw6k=\r\n--b--",
    b"\x04--b\r\nContent-Type: multipart/alternative;boundary=c\r\nContent-ID: <1>\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--",
    b"\x05From: <im:a@b>\r\nDateTime: 2000-12-13T13:40:00-08:00\r\nSubject: s\r\n\r\nContent-type: text/plain\r\n\r\nhello",
    b"\x06<KeyboardActivity><status status=\"type\" /></KeyboardActivity>",
    b"\x07<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state><refresh>90</refresh></isComposing>",
];

const ADDRESSES: [&[u8]; 6] = [
    b"<sip:Juliet%20c:pw@[2001:db8::1]:5061;transport=tls;gr=a%2fb?x=y>",
    b"sip:at&t%5C20guy@xn--bcher-kva.example;opaque=user:epid:X;gruu",
    b"pres:%C3%A9%EF%BC%BC20@example.com",
    b"user\\5c20@aol.com",
    b"im:+1555;ext=2@EXAMPLE.com.",
    b"sips:example.com",
];

const RUNS: u64 = 5_000;

/// Pieces that a random byte would hardly ever make.
const FRAGMENTS: [&str; 34] = [
    "<",
    ">",
    "</",
    "/>",
    "'",
    "\"",
    "&",
    "&amp;",
    "&#x41;",
    "&#0;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml",
    "<!DOCTYPE a>",
    " xmlns='urn:x'",
    " xmlns:p='urn:p'",
    "<p:a>",
    "\u{e9}",
    "\u{ff3c}",
    "\u{feff}",
    "\u{ffff}",
    "\r\n",
    "\r\n\r\n",
    "--b",
    "--b--",
    "{",
    "}",
    "\\",
    "\\u-10179?",
    "\\'8",
    "%5C",
    "@",
];

fn owned(corpus: &[&[u8]]) -> Vec<Vec<u8>> {
    corpus.iter().map(|bytes| bytes.to_vec()).collect()
}

#[test]
fn documents() {
    let folder = format!("{}/tests/pidf", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let corpus: Vec<_> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    seeded::run(&corpus, &FRAGMENTS, RUNS, interwork::document);
}

#[test]
fn bodies() {
    seeded::run(&owned(&BODIES), &FRAGMENTS, RUNS, interwork::body);
}

#[test]
fn addresses() {
    seeded::run(&owned(&ADDRESSES), &FRAGMENTS, RUNS, interwork::address);
}
