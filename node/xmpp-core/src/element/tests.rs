use super::*;

fn parse(xml: &str) -> Result<Element, XmlFault> {
    Element::parse(xml.as_bytes(), ns::CLIENT, &Limits::AUTHENTICATED)
}

#[test]
fn a_tree_survives_the_wire() {
    let roster = Element::new(ns::CLIENT, "iq")
        .attr("id", "a'&<\"b\n")
        .attr("xml:lang", "en")
        .child(
            Element::new(ns::ROSTER, "query")
                .attr("ver", "")
                .child(Element::new(ns::ROSTER, "item").attr("jid", "a@b"))
                .child(Element::new("", "bare").text("x < y && ]]> z")),
        );
    let bytes = roster.to_bytes(ns::CLIENT);
    assert_eq!(
        bytes,
        "<iq id='a&apos;&amp;&lt;&quot;b&#10;' xml:lang='en'><query xmlns='jabber:iq:roster' ver=''>\
         <item jid='a@b'/><bare xmlns=''>x &lt; y &amp;&amp; ]]&gt; z</bare></query></iq>"
    );
    assert_eq!(parse(std::str::from_utf8(&bytes).unwrap()), Ok(roster));
}

#[test]
fn prefixes_are_resolved() {
    let element =
        parse("<x:a xmlns:x='urn:x' x:b='1' b='2'><x:c/><c xmlns='urn:x'/></x:a>").unwrap();
    assert!(element.is("urn:x", "a"));
    assert_eq!(element.get_attr("b"), Some("2"));
    assert_eq!(element.attrs()[0].ns(), Some("urn:x"));
    assert_eq!(
        element
            .elements()
            .filter(|child| child.is("urn:x", "c"))
            .count(),
        2
    );
    let again = Element::parse(&element.to_bytes(""), "", &Limits::AUTHENTICATED);
    assert_eq!(again, Ok(element));
}

#[test]
fn text_and_cdata_are_joined() {
    let element = parse("<a>x&amp;<![CDATA[<&>]]>&#x41;</a>").unwrap();
    assert_eq!(element.content_text(), "x&<&>A");
    assert_eq!(element.nodes().len(), 1);
}

#[test]
fn exactly_one_element() {
    assert_eq!(parse("<a/><b/>"), Err(XmlFault::TrailingBytes));
    assert_eq!(parse("<a>"), Err(XmlFault::Incomplete));
    assert_eq!(parse(""), Err(XmlFault::StrayText));
    assert_eq!(parse("x<a/>"), Err(XmlFault::StrayText));
    assert_eq!(parse("</a>"), Err(XmlFault::Mismatch));
}

#[test]
fn characters_that_xml_forbids_are_replaced_when_written() {
    let element = Element::new("", "a")
        .text("\u{1}\u{ffff}x")
        .attr("b", "\u{0}");
    let text = element.to_string();
    assert_eq!(text, "<a b='\u{fffd}'>\u{fffd}\u{fffd}x</a>");
    assert!(Element::parse(text.as_bytes(), "", &Limits::AUTHENTICATED).is_ok());
}
