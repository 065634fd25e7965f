//! Seeded mutations of real traffic through the fuzz targets' entry functions; see `seeded`.
#![expect(
    clippy::print_stderr,
    reason = "a failure has to name the seed that repeats it"
)]

#[path = "../../../tests/fuzz/src/seeded.rs"]
#[allow(unreachable_pub, reason = "shared with other crates")]
mod seeded;
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

const RUNS: u64 = 20_000;

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

#[test]
fn xml_stream() {
    let corpus: Vec<Vec<u8>> = STREAMS
        .iter()
        .map(|stream| format!("\u{7}{stream}").into_bytes())
        .collect();
    seeded::run(&corpus, FRAGMENTS, RUNS, xmpp::xml_stream);
}

#[test]
fn stanza() {
    let corpus: Vec<Vec<u8>> = STANZAS
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    seeded::run(&corpus, FRAGMENTS, RUNS, xmpp::stanza);
}
