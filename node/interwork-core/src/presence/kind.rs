//! Rich clients and others.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::ns;

use super::RICH_STATE_NS;

/// What kind of client somebody uses: which statuses it can show and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// Tells busy from away and shows idle.
    Rich,
    /// Has the show values of RFC 6121 and no more.
    Xmpp,
}

/// How rich clients are recognised: by what their presence carries.
///
/// A client is rich if its available presence has a `<state xmlns='urn:entente:presence:0'/>` child,
/// with which it names its status exactly, or if the node of its entity capabilities (XEP-0115) starts
/// with one of the prefixes here. A client that says neither is a third-party XMPP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RichClients {
    /// Prefixes of capability nodes; empty ones count for nothing.
    pub caps_nodes: Vec<String>,
}

impl Default for RichClients {
    /// Cisco Jabber's.
    fn default() -> Self {
        Self {
            caps_nodes: vec!["http://protocols.cisco.com/jabber".to_owned()],
        }
    }
}

impl RichClients {
    /// The kind of client that sent a presence stanza.
    #[must_use]
    pub fn kind_of(&self, presence: &Element) -> ClientKind {
        let rich = presence.elements().any(|child| {
            child.is(RICH_STATE_NS, "state")
                || child.is(ns::CAPS, "c")
                    && child
                        .get_attr("node")
                        .is_some_and(|node| self.is_rich_node(node))
        });
        if rich {
            ClientKind::Rich
        } else {
            ClientKind::Xmpp
        }
    }

    fn is_rich_node(&self, node: &str) -> bool {
        self.caps_nodes
            .iter()
            .any(|prefix| !prefix.is_empty() && node.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence_with(child: Element) -> Element {
        Element::new(ns::CLIENT, "presence").child(child)
    }

    #[test]
    fn a_rich_client_is_known_by_its_presence() {
        let caps = |node: &'static str| Element::new(ns::CAPS, "c").attr("node", node);
        let kind = |child| RichClients::default().kind_of(&presence_with(child));
        assert_eq!(
            kind(Element::new(RICH_STATE_NS, "state").text("busy")),
            ClientKind::Rich
        );
        assert_eq!(
            kind(caps("http://protocols.cisco.com/jabber")),
            ClientKind::Rich
        );
        assert_eq!(kind(caps("https://gajim.org")), ClientKind::Xmpp);
        assert_eq!(kind(Element::new(ns::CAPS, "c")), ClientKind::Xmpp);
        assert_eq!(kind(Element::new(ns::CLIENT, "show")), ClientKind::Xmpp);
    }

    #[test]
    fn an_empty_prefix_makes_nobody_rich() {
        let clients = RichClients {
            caps_nodes: vec![String::new()],
        };
        let caps = Element::new(ns::CAPS, "c").attr("node", "https://gajim.org");
        assert_eq!(clients.kind_of(&presence_with(caps)), ClientKind::Xmpp);
    }
}
