//! Namespace names, as constants named after what they qualify.

/// Content namespace of client streams (RFC 6120 section 4.8.2).
pub const CLIENT: &str = "jabber:client";
/// Content namespace of server streams (RFC 6120 section 4.8.2).
pub const SERVER: &str = "jabber:server";
/// The stream root, features and errors (RFC 6120 section 4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Conditions inside `<stream:error/>` (RFC 6120 section 4.9).
pub const STREAM_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Conditions inside a stanza's `<error/>` (RFC 6120 section 8.3).
pub const STANZA_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS (RFC 6120 section 5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 section 6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding (RFC 6120 section 7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// The session request of RFC 3921, a no-op kept for old clients.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// Channel binding types that the server supports (XEP-0440).
pub const SASL_CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// Reserved `xml` prefix.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Reserved `xmlns` prefix.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Server dialback elements (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// Server dialback as a stream feature (XEP-0220 section 2.3).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// Bidirectional server streams, the elements (XEP-0288).
pub const BIDI: &str = "urn:xmpp:bidi";
/// Bidirectional server streams, the feature (XEP-0288).
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// Stream limits advertisement (XEP-0478).
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Stream management (XEP-0198).
pub const STREAM_MANAGEMENT: &str = "urn:xmpp:sm:3";
/// Client state indication (XEP-0352).
pub const CLIENT_STATE: &str = "urn:xmpp:csi:0";

/// Roster management (RFC 6121 section 2).
pub const ROSTER: &str = "jabber:iq:roster";
/// Roster versioning feature (RFC 6121 section 2.6).
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// Subscription pre-approval feature (RFC 6121 section 3.4).
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
/// Service discovery, information (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery, items (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Entity capabilities (XEP-0115).
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Entity time (XEP-0202).
pub const TIME: &str = "urn:xmpp:time";
/// Software version (XEP-0092).
pub const VERSION: &str = "jabber:iq:version";
/// Last activity (XEP-0012).
pub const LAST_ACTIVITY: &str = "jabber:iq:last";
/// vCards (XEP-0054).
pub const VCARD: &str = "vcard-temp";
/// Data forms (XEP-0004).
pub const DATA_FORM: &str = "jabber:x:data";
/// In-band registration and password change (XEP-0077).
pub const REGISTER: &str = "jabber:iq:register";
/// Private XML storage (XEP-0049).
pub const PRIVATE_STORAGE: &str = "jabber:iq:private";
/// Publish-subscribe (XEP-0060).
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// Message carbons (XEP-0280).
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// Stanza forwarding (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// Blocking command (XEP-0191).
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// Conditions of errors caused by blocking (XEP-0191 section 3.3).
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// Message processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Chat state notifications (XEP-0085).
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Message delivery receipts (XEP-0184).
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// Chat markers (XEP-0333).
pub const CHAT_MARKERS: &str = "urn:xmpp:chat-markers:0";
/// Explicit message encryption (XEP-0380).
pub const ENCRYPTION: &str = "urn:xmpp:eme:0";
/// OMEMO, the widely deployed version (XEP-0384 version 0.3).
pub const OMEMO_SIACS: &str = "eu.siacs.conversations.axolotl";
/// OMEMO, the version of 2020 (XEP-0384 version 0.8).
pub const OMEMO_2: &str = "urn:xmpp:omemo:2";
/// OpenPGP for XMPP (XEP-0373).
pub const OPENPGP: &str = "urn:xmpp:openpgp:0";
/// OpenPGP, the old way (XEP-0027).
pub const OPENPGP_LEGACY: &str = "jabber:x:encrypted";
/// Unique and stable stanza ids (XEP-0359).
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// Multi-user chat, sent by the occupant (XEP-0045).
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// Multi-user chat, sent by the room (XEP-0045).
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// Direct invitations to rooms (XEP-0249).
pub const CONFERENCE: &str = "jabber:x:conference";
/// Time of last user interaction in presence (XEP-0319).
pub const IDLE: &str = "urn:xmpp:idle:1";
/// Application-specific error conditions (XEP-0205 and others).
pub const ERRORS: &str = "urn:xmpp:errors";
