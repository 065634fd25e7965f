use proptest::prelude::*;

use super::*;

fn content(content_type: &str, body: impl AsRef<[u8]>) -> Result<Content, TextFault> {
    read(Some(content_type), body.as_ref()).map(|read| read.content)
}

fn said(content_type: &str, body: impl AsRef<[u8]>) -> String {
    match content(content_type, body) {
        Ok(Content::Text(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

#[test]
fn plain_text_in_any_charset() {
    for (content_type, body, text) in [
        ("text/plain", &b"caf\xc3\xa9"[..], "café"),
        ("text/plain", b"caf\xe9", "café"),
        (
            "text/plain; charset=UTF-8;msgr=WAA",
            b"\xef\xbb\xbfhi",
            "hi",
        ),
        ("text/plain;charset=ISO-8859-1", b"caf\xe9", "café"),
        ("text/plain;charset=us-ascii", b"hi", "hi"),
        (
            "text/plain;charset=\"windows-1251\"",
            b"\xcf\xf0\xe8\xe2\xe5\xf2",
            "Привет",
        ),
        ("text/plain;charset=Shift_JIS", b"\x82\xb1\x82\xf1", "こん"),
        ("text/plain;charset=UTF-16", b"\xff\xfeh\0i\0", "hi"),
        ("text/plain;charset=UTF-16BE", b"\0h\0i", "hi"),
        ("text/plain;charset=utf-8", b"a\xffb", "a\u{fffd}b"),
        ("text/plain;charset=", b"hi", "hi"),
        ("TEXT/PLAIN", b" a\r\nb\rc\x07\0\td\r\n\r\n", " a\nb\nc\td"),
    ] {
        assert_eq!(said(content_type, body), text, "{content_type}");
    }
    assert_eq!(
        read(None, b"hi").unwrap().content,
        Content::Text("hi".into())
    );
}

#[test]
fn unknown_charsets_and_formats_are_refused() {
    for (content_type, fault) in [
        ("text/plain;charset=klingon", TextFault::Charset),
        ("text/plain;charset=utf-7", TextFault::Charset),
        ("text/plain;charset=hz-gb-2312", TextFault::Charset),
        ("text/html;charset=klingon", TextFault::Charset),
        ("application/x-ms-ink", TextFault::Unsupported),
        ("image/gif", TextFault::Unsupported),
        ("multipart/mixed;boundary=a", TextFault::Unsupported),
        ("nonsense", TextFault::Unsupported),
        ("multipart/alternative", TextFault::Malformed),
        ("text/rtf", TextFault::Malformed),
    ] {
        let outcome = content(content_type, "hello");
        assert_eq!(outcome, Err(fault), "{content_type}");
    }
    assert_eq!(TextFault::Charset.sip_status(), 415);
    assert_eq!(
        content("text/plain", [b'a'; MAX_BODY + 1]),
        Err(TextFault::TooLarge)
    );
    assert!(content("text/plain", [b'a'; MAX_BODY]).is_ok());
}

#[test]
fn what_says_nothing_is_nothing() {
    for (content_type, body) in [
        ("text/plain", ""),
        ("image/gif", ""),
        ("text/plain", " \r\n"),
        ("text/html", "<div><br/>&nbsp;</div>"),
    ] {
        assert_eq!(content(content_type, body), Ok(Content::Nothing), "{body}");
    }
}

#[test]
fn html_is_reduced_to_what_it_says() {
    for (html, text) in [
        ("plain", "plain"),
        (
            "a &lt;b&gt; &amp;amp; &eacute;&#233;&#xE9;&#146; &unknown; &",
            "a <b> &amp; ééé\u{2019} &unknown; &",
        ),
        ("<p>one</p><p>two<br>three</p>", "one\ntwo\nthree"),
        (
            "<DIV>one</DIV>\r\n  <div>two  \n words</div>",
            "one\ntwo words",
        ),
        ("a <b>bold</b> <i>and</i>so", "a bold andso"),
        ("<ul><li>one</li><li>two</li></ul>end", "- one\n- two\nend"),
        ("<pre>a  b\n c</pre>d", "a  b\n c\nd"),
        (
            "<style>p { x: '<p>' }</style><script>if (a<b) {}</script>x",
            "x",
        ),
        ("<title>no</title>x<!-- <p>no</p> -->y", "xy"),
        ("<script>never ends", ""),
        ("a<!-- never ends", "a"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <3 b", "a <3 b"),
        (
            "<a href=\"https://example.com/x?a=1&amp;b=2\">look</a>!",
            "look <https://example.com/x?a=1&b=2>!",
        ),
        (
            "<a href='https://example.com/'>example.com</a>",
            "example.com",
        ),
        ("<a href='javascript:x'>no link</a>", "no link"),
        ("<img src=x alt=\"smile &amp; wave\"> <img>", "smile & wave"),
        (
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
            "a\tb\nc",
        ),
        ("<span title='a>b'>x</span>", "x"),
        ("<span title='never ends>x", "x"),
        ("it's <b class=x'>fine</b> isn't it", "it's fine isn't it"),
        ("tail <b", "tail <b"),
        ("&#0;&#55296;&#x110000;", "&#0;&#55296;&#x110000;"),
    ] {
        if text.is_empty() {
            assert_eq!(content("text/html", html), Ok(Content::Nothing), "{html}");
        } else {
            assert_eq!(said("text/html", html), text, "{html}");
        }
    }
}

/// As Lync writes it.
#[test]
fn microsofts_html() {
    let html = "<DIV style=\"font-size: 10pt; font-family: MS Shell Dlg 2; color: #000000; direction: ltr\">\
                <DIV>Hello&nbsp; &quot;there&quot;</DIV>\r\n<DIV>second</DIV></DIV>";
    assert_eq!(
        said("text/html; charset=utf-8", html),
        "Hello  \"there\"\nsecond"
    );
}

#[test]
fn rtf_is_reduced_to_what_it_says() {
    let font_table = r"{\fonttbl{\f0\fnil\fcharset0 Segoe UI;}{\f1\fnil\fcharset204{\*\fname Segoe UI;}Segoe UI Cyr;}{\f2\fnil\fcharset128 MS UI Gothic;}}";
    for (rtf, text) in [
        (r"{\rtf1\ansi hello\par}".to_owned(), "hello"),
        (
            format!(
                r"{{\rtf1\fbidis\ansi\ansicpg1252\deff0\deflang1031{font_table}{{\colortbl ;\red0\green0\blue0;}}{{\*\generator Riched20 15.0;}}\viewkind4\uc1\pard\ltrpar\cf1\embo\f0\fs20 Gr\'fc\'dfe\par second \b line\b0\line third\tab x\par}}"
            ),
            "Grüße\nsecond line\nthird\tx",
        ),
        (
            format!(r"{{\rtf1\ansi{font_table}\f1 \'cf\'f0\'e8\'e2\'e5\'f2\f0  \'e9}}"),
            "Привет é",
        ),
        (
            format!(r"{{\rtf1\ansi{font_table}{{\f2 \'82\'b1\'82\'f1}} x}}"),
            "こん x",
        ),
        (r"{\rtf1\ansi\ansicpg1251 \'cf}".to_owned(), "П"),
        (r"{\rtf1 \u8364 ?\u-10179?\u-8704?!}".to_owned(), "€😀!"),
        (
            r"{\rtf1 \uc0\u233 e{\uc2\u8217ab}c}".to_owned(),
            "ée\u{2019}c",
        ),
        (r"{\rtf1\u233\'e9x}".to_owned(), "éx"),
        (
            r"{\rtf1 \u-10179?x\u-10179?}".to_owned(),
            "\u{fffd}x\u{fffd}",
        ),
        (
            r"{\rtf1 a\{b\}c\\d\~e\_f\-g\emdash\lquote h\rquote}".to_owned(),
            "a{b}c\\d e-fg\u{2014}\u{2018}h\u{2019}",
        ),
        (
            r"{\rtf1 a{\v hidden}{\pict ffd8}{\*\unknown x{y}}b}".to_owned(),
            "ab",
        ),
        (
            r#"{\rtf1{\field{\*\fldinst{HYPERLINK "http://x"}}{\fldrslt{link}}}}"#.to_owned(),
            "link",
        ),
        ("{\\rtf1 a\\bin4 }}}}b}".to_owned(), "ab"),
        (
            "{\\rtf1 caf\\'e9\r\nn\\\r\nx} behind".to_owned(),
            "cafén\nx",
        ),
        (r"{\rtf1 open \'e".to_owned(), "open e"),
    ] {
        assert_eq!(said("text/rtf", &rtf), text, "{rtf}");
    }
    let deep = format!("{{\\rtf1{}", "{".repeat(300));
    assert_eq!(content("text/rtf", deep), Err(TextFault::TooLarge));
}

const ALTERNATIVE: &str = "multipart/alternative; boundary=\"b 1\"";

#[test]
fn the_best_alternative_is_read() {
    let body = "preamble\r\n--b 1\r\nContent-Type: text/plain;charset=utf-8\r\n\r\nplain\r\n\
                --b 1\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n--b 1--\r\nepilogue";
    assert_eq!(said(ALTERNATIVE, body), "plain");
    let body = "--b 1\nContent-Type: text/rtf\n\n{\\rtf1 rtf}\n--b 1\nContent-Type: text/html\n\n\
                <b>html</b>\n--b 1\nContent-Type: image/gif\n\nGIF\n--b 1--";
    assert_eq!(said(ALTERNATIVE, body), "html");
    // An alternative that cannot be read leaves the others.
    let body = "--b 1\r\nContent-Type: text/plain;charset=klingon\r\n\r\nx\r\n\
                --b 1\r\nContent-Type: text/html\r\n\r\nhtml\r\n--b 1--";
    assert_eq!(said(ALTERNATIVE, body), "html");
    let body = "--b 1\r\nContent-Type: image/gif\r\n\r\nGIF\r\n--b 1--";
    assert_eq!(content(ALTERNATIVE, body), Err(TextFault::Unsupported));
}

#[test]
fn parts_are_cut_where_the_standard_says() {
    for (body, text) in [
        // No headers, no last delimiter, a line that only starts like the delimiter.
        (
            "--b 1\r\n\r\nfirst\r\n--b 12\r\nsecond",
            "first\n--b 12\nsecond",
        ),
        ("--b 1  \r\n\r\nx\r\n--b 1--", "x"),
        (
            "--b 1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: Base64\r\n\r\nY2Fm\r\nw6k=\r\n--b 1--",
            "café",
        ),
        (
            "--b 1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9=\r\n!=zz\r\n--b 1--",
            "café!=zz",
        ),
    ] {
        assert_eq!(said(ALTERNATIVE, body), text, "{body}");
    }
    for empty in ["", "no delimiter", "--b 1--"] {
        let expected = if empty.is_empty() {
            Ok(Content::Nothing)
        } else {
            Err(TextFault::Malformed)
        };
        assert_eq!(content(ALTERNATIVE, empty), expected, "{empty}");
    }
}

#[test]
fn the_root_of_related_parts_is_read() {
    let body = "--b\r\nContent-Type: image/gif\r\nContent-ID: <1>\r\n\r\nGIF\r\n\
                --b\r\nContent-Type: text/html\r\nContent-ID: <2>\r\n\r\n<p>root</p>\r\n--b--";
    assert_eq!(
        said("multipart/related;boundary=b;start=\"<2>\"", body),
        "root"
    );
    assert_eq!(
        content("multipart/related;boundary=b", body),
        Err(TextFault::Unsupported)
    );
}

#[test]
fn nesting_and_parts_are_bounded() {
    let mut body = "text".to_owned();
    let mut content_type = "text/plain".to_owned();
    for depth in 1..=MAX_DEPTH {
        body = format!("--b{depth}\r\nContent-Type: {content_type}\r\n\r\n{body}\r\n--b{depth}--");
        content_type = format!("multipart/alternative;boundary=b{depth}");
        let expected = if depth < MAX_DEPTH {
            Ok(Content::Text("text".into()))
        } else {
            Err(TextFault::TooLarge)
        };
        assert_eq!(content(&content_type, &body), expected, "{depth}");
    }
    let many = |count: usize| format!("{}--b 1--", "--b 1\r\n\r\nx\r\n".repeat(count));
    assert_eq!(said(ALTERNATIVE, many(MAX_PARTS)), "x");
    assert_eq!(
        content(ALTERNATIVE, many(MAX_PARTS + 1)),
        Err(TextFault::TooLarge)
    );
}

#[test]
fn the_common_format_is_read() {
    let body = "From: MR SANDERS <im:piglet@100akerwood.example>\r\n\
                To: Depressed Donkey <im:eeyore@100akerwood.example>\r\n\
                DateTime: 2000-12-13T13:40:00-08:00\r\n\
                Subject: the weather will be fine today\r\n\r\n\
                Content-type: text/plain; charset=utf-8\r\n\
                Content-ID: <1234567890@foo.example>\r\n\r\n\
                Hello, where are you?\r\n";
    let read = read(Some("message/cpim"), body.as_bytes()).unwrap();
    assert_eq!(read.content, Content::Text("Hello, where are you?".into()));
    assert_eq!(
        read.subject.as_deref(),
        Some("the weather will be fine today")
    );
    assert_eq!(read.sent, UtcTime::from_datetime("2000-12-13T21:40:00Z"));
    assert_eq!(content("message/cpim", "x"), Err(TextFault::Malformed));
}

#[test]
fn notices_are_told_from_texts() {
    let notice = Typing::COMPOSING.to_is_composing();
    assert_eq!(
        content(typing::IS_COMPOSING, notice),
        Ok(Content::Typing(Typing::COMPOSING))
    );
    let notice = Typing::Idle.to_keyboard_activity();
    assert_eq!(
        content(typing::KEYBOARD_ACTIVITY, notice),
        Ok(Content::Typing(Typing::Idle))
    );
}

const TYPES: [&str; 8] = [
    "text/plain",
    "text/html;charset=utf-16",
    "text/html",
    "text/rtf",
    "multipart/alternative;boundary=b",
    "multipart/related;boundary=b",
    "message/cpim",
    "application/xml",
];

fn check(content_type: &str, body: &[u8]) {
    if let Ok(Content::Text(text)) = content(content_type, body) {
        assert!(!text.trim().is_empty());
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for content_type in TYPES {
            check(content_type, &body);
        }
    }

    #[test]
    fn anything_like_html_is_text(
        html in r#"(<p>|</p>|<a href="http://x">|</a>|<a b='|<br/>|<pre>|</pre>|<script>|</script>|<!--|-->|<|>|&amp;|&#x41;|&|é| |x|"|'){0,40}"#
    ) {
        check("text/html", html.as_bytes());
    }

    #[test]
    fn anything_like_rtf_is_text(
        rtf in r"(\{|\}|\\par|\\u-?[0-9]{1,6}\?|\\'[0-9a-f]{2}|\\uc[0-9]{1,3} |\\bin[0-9]{1,3} |\\f[0-9] |\\fonttbl|\\fcharset128|\\\*|\\|é|x| ){0,40}"
    ) {
        check("text/rtf", format!("{{\\rtf1{rtf}").as_bytes());
    }

    #[test]
    fn anything_like_parts_is_read_or_refused(
        body in r"(--b|--b--|\r\n|\n|Content-Type: text/html|Content-Type: multipart/alternative;boundary=b|Content-Transfer-Encoding: base64|x|=|: ){0,30}"
    ) {
        check("multipart/alternative;boundary=b", body.as_bytes());
    }

    /// Every text survives the way out and in.
    #[test]
    fn what_we_send_is_read_back(text in "[a-zé<&\n ]{0,60}") {
        let sent = content(CONTENT_TYPE, &text);
        let expected = text.trim_end_matches('\n');
        if expected.trim().is_empty() {
            prop_assert_eq!(sent, Ok(Content::Nothing));
        } else {
            prop_assert_eq!(sent, Ok(Content::Text(expected.to_owned())));
        }
    }
}
