use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

#[test]
fn references_are_resolved() {
    for (raw, text) in [
        ("a", "a"),
        ("&amp;&lt;&gt;&quot;&apos;", "&<>\"'"),
        ("x&#65;&#x1F600;y", "xA\u{1F600}y"),
        ("&unknown; & &#0; &", "&unknown; & &#0; &"),
    ] {
        assert_eq!(unescape(raw), text);
    }
}

fn escaped(text: &str, escape: fn(&mut BytesMut, &str)) -> String {
    let mut out = BytesMut::new();
    escape(&mut out, text);
    String::from_utf8(out.to_vec()).unwrap()
}

proptest! {
    #[test]
    fn escaping_comes_back(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]*") {
        let attribute = escaped(&text, escape_attribute);
        prop_assert_eq!(unescape(&attribute), text.as_str());
        prop_assert!(!attribute.contains(['<', '\'', '"', '\n', '\t', '\r']));
        let content = escaped(&text, escape_text);
        prop_assert_eq!(unescape(&content), text.as_str());
        prop_assert!(!content.contains(['<', '>', '\r']));
    }
}

/// Bytes that trickle in are searched once: no sender makes work that grows with the square.
#[test]
fn what_was_searched_is_not_searched_again() {
    let limits = Limits::TRUSTED;
    let scope = RootScope::with_default("");
    for xml in [
        format!("<a b='{}'/>", "x>".repeat(100)),
        format!("<a>{}</a>", "x".repeat(200)),
        format!("<a><![CDATA[{}]]></a>", "]".repeat(200)),
        format!("<a></a{}>", " ".repeat(200)),
    ] {
        let mut scanner = Scanner::default();
        let mut searched = Vec::new();
        for end in 1..=xml.len() {
            let bytes = &xml.as_bytes()[..end];
            while scanner.step(bytes, &scope, &limits).unwrap() != Event::Incomplete {}
            searched.push(scanner.searched());
        }
        assert_eq!((scanner.depth(), scanner.position()), (0, xml.len()));
        assert_eq!(searched[149], 150, "{xml}");
        assert_eq!(searched[150], 151, "{xml}");
    }
}
