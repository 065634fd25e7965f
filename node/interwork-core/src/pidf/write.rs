//! Documents in the peer's dialect. Prefixes are literal: some clients look for them as text.

use bytes::{BufMut, Bytes, BytesMut};
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Show;
use entente_xmpp_core::xml::{escape_attribute, escape_text};

use super::{CIPID_NS, DATA_MODEL_NS, DRAFT_STATUS_NS, PIDF_NS, RPID_NS};
use crate::address::AddressOfRecord;
use crate::presence::{Availability, Presence, with_words};
use crate::time::UtcTime;

/// Who is to read the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Microsoft: draft RPID inside `status`, one tuple, the display name.
    Microsoft,
    /// AOL: the same, and people are named without a scheme.
    Aol,
    /// RFC 4479 and 4480: a person beside the devices. COMPAT linphone reads these, baresip looks for
    /// the text `<rpid:busy/>`.
    Rpid,
    /// Open or closed and a note.
    Plain,
}

/// How documents for a peer look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Style {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether status texts and words go along, as notes. A peer that chokes on them can be spared.
    pub notes: bool,
}

impl Style {
    /// With notes.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            notes: true,
        }
    }
}

/// Whose document it is. Addresses come from [`AddressRules`](crate::address::AddressRules).
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The address that the peer knows.
    pub entity: &'a AddressOfRecord,
    /// The person's name, if it is to be told.
    pub display_name: Option<&'a str>,
    /// The time of writing, if it is to be told.
    pub time: Option<UtcTime>,
}

/// One device of the person, for dialects that tell devices apart.
#[derive(Debug, Clone)]
pub struct Device<'a> {
    /// The resource. Not shown: the tuple's id is made of it, so that it stays the same.
    pub resource: &'a str,
    /// Its priority (RFC 6121 section 4.7.2.3).
    pub priority: i8,
    /// What it shows to the peer.
    pub presence: Presence,
}

/// Writes a document that shows `person` as the peer is to see it (see
/// [`render`](crate::presence::render)). A status that the dialect has no value for becomes words in
/// the note (requirement M2). `devices` matter to [`Dialect::Rpid`] only: if there are two or more that
/// are open and the person is open too, each gets a tuple, the person's first.
#[must_use]
pub fn write(
    style: Style,
    author: &Author<'_>,
    person: &Presence,
    devices: &[Device<'_>],
) -> Bytes {
    let mut markup = Markup::default();
    let entity = match style.dialect {
        Dialect::Aol => author.entity.without_scheme(),
        _ => author.entity.to_string(),
    };
    markup.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence");
    markup.attribute("xmlns", PIDF_NS);
    match style.dialect {
        Dialect::Microsoft | Dialect::Aol => {
            markup.attribute("xmlns:ep", DRAFT_STATUS_NS);
            markup.attribute("xmlns:ci", CIPID_NS);
        }
        Dialect::Rpid => {
            markup.attribute("xmlns:dm", DATA_MODEL_NS);
            markup.attribute("xmlns:rpid", RPID_NS);
        }
        Dialect::Plain => {}
    }
    markup.attribute("entity", &entity);
    markup.raw(">");
    let writer = Writer { style, author };
    match style.dialect {
        Dialect::Microsoft | Dialect::Aol => {
            writer.tuple(&mut markup, "0", person, None);
            if let Some(name) = author.display_name {
                markup.element("ci:display-name", name);
            }
        }
        Dialect::Rpid => {
            writer.devices(&mut markup, person, devices);
            writer.person(&mut markup, person);
        }
        Dialect::Plain => writer.tuple(&mut markup, "t1", person, None),
    }
    markup.raw("</presence>\r\n");
    markup.out.freeze()
}

struct Writer<'a> {
    style: Style,
    author: &'a Author<'a>,
}

impl Writer<'_> {
    /// A tuple for each device if there are several, and first of all the one that speaks for the
    /// person: COMPAT baresip reads the first `basic` only.
    fn devices(&self, markup: &mut Markup, person: &Presence, devices: &[Device<'_>]) {
        let mut open: Vec<&Device<'_>> = devices
            .iter()
            .filter(|device| device.presence.availability.is_open())
            .collect();
        if open.len() < 2 || !person.availability.is_open() {
            return self.tuple(markup, "t1", person, None);
        }
        open.sort_by_key(|device| device.presence.availability != person.availability);
        for device in open {
            let id = format!("t{:016x}", fingerprint(device.resource));
            self.tuple(markup, &id, &device.presence, Some(device.priority));
        }
    }

    fn tuple(&self, markup: &mut Markup, id: &str, presence: &Presence, priority: Option<i8>) {
        let open = presence.availability.is_open();
        markup.raw("<tuple");
        markup.attribute("id", id);
        markup.raw("><status>");
        markup.element("basic", if open { "open" } else { "closed" });
        let exact = match self.style.dialect {
            Dialect::Microsoft | Dialect::Aol => draft_activity(markup, presence.availability),
            Dialect::Rpid => show(markup, presence.availability),
            Dialect::Plain => presence.availability == Availability::Available,
        };
        markup.raw("</status>");
        if self.style.dialect == Dialect::Rpid {
            markup.raw("<contact");
            // Below zero a device gets no messages: no priority, which is the lowest.
            if let Some(priority @ 0..) = priority {
                let thousandths = u32::from(priority.unsigned_abs()) * 1_000 / 127;
                let value = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
                markup.attribute("priority", &value);
            }
            markup.raw(">");
            markup.text(&self.author.entity.to_string());
            markup.raw("</contact>");
        }
        self.note(markup, "note", presence, exact);
        if let Some(time) = self.author.time {
            markup.element("timestamp", &time.to_datetime());
        }
        markup.raw("</tuple>");
    }

    /// RFC 4479 and 4480.
    fn person(&self, markup: &mut Markup, person: &Presence) {
        use Availability as A;
        if !person.availability.is_open() {
            return;
        }
        markup.raw("<dm:person id=\"p1\"><rpid:activities>");
        let (activity, exact) = match person.availability {
            A::Available | A::Invisible | A::Offline => (None, true),
            A::InAMeeting => (Some("<rpid:meeting/>"), true),
            A::Busy => (Some("<rpid:busy/>"), true),
            A::DoNotDisturb => (Some("<rpid:busy/>"), false),
            A::Away | A::Idle | A::AwayIdle => (Some("<rpid:away/>"), true),
            A::BeRightBack | A::ExtendedAway => (Some("<rpid:away/>"), false),
        };
        markup.raw(activity.unwrap_or_default());
        markup.raw("</rpid:activities>");
        if matches!(person.availability, A::Idle | A::AwayIdle) {
            markup.raw("<rpid:user-input");
            if let Some(since) = person.idle_since {
                markup.attribute("last-input", &since.to_datetime());
            }
            markup.raw(">idle</rpid:user-input>");
        }
        self.note(markup, "dm:note", person, exact);
        if let Some(time) = self.author.time {
            markup.element("dm:timestamp", &time.to_datetime());
        }
        markup.raw("</dm:person>");
    }

    fn note(&self, markup: &mut Markup, name: &str, presence: &Presence, exact: bool) {
        let text = if exact {
            presence.text().map(Into::into)
        } else {
            with_words(presence.availability, presence.text())
        };
        // Away needs no words anywhere but in a document that has nothing else to say it.
        let text = match (self.style.dialect, presence.availability) {
            (Dialect::Plain, Availability::Away) => Some(match text {
                Some(text) => format!("Away: {text}").into(),
                None => "Away".into(),
            }),
            _ => text,
        };
        if let Some(text) = text.filter(|_| self.style.notes) {
            markup.element(name, &text);
        }
    }
}

/// The draft's activity inside `status`; says whether it tells everything.
fn draft_activity(markup: &mut Markup, availability: Availability) -> bool {
    use Availability as A;
    let (activity, exact) = match availability {
        A::Available | A::Invisible | A::Offline => (None, true),
        A::Busy => (Some("busy"), true),
        A::DoNotDisturb | A::InAMeeting => (Some("busy"), false),
        A::Away => (Some("away"), true),
        A::BeRightBack | A::Idle | A::AwayIdle | A::ExtendedAway => (Some("away"), false),
    };
    if let Some(activity) = activity {
        markup.raw("<ep:activities><ep:activity>");
        markup.raw(activity);
        markup.raw("</ep:activity></ep:activities>");
    }
    exact
}

/// XMPP's show value inside `status` (RFC 8048 section 5.2), where RPID has no activity for it; says
/// whether it tells everything, together with the person's activities.
fn show(markup: &mut Markup, availability: Availability) -> bool {
    use Availability as A;
    let (show, exact) = match availability {
        A::DoNotDisturb => (Some(Show::Dnd), false),
        A::ExtendedAway => (Some(Show::Xa), false),
        A::AwayIdle => (Some(Show::Away), true),
        A::Available | A::Away | A::Invisible | A::Offline => (None, true),
        A::InAMeeting | A::Busy | A::BeRightBack | A::Idle => (None, false),
    };
    if let Some(show) = show {
        markup.raw("<show");
        markup.attribute("xmlns", ns::CLIENT);
        markup.raw(">");
        markup.raw(show.as_str());
        markup.raw("</show>");
    }
    exact
}

/// FNV-1a, 64 bits: the same id for the same resource on every node.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// XML under way.
struct Markup {
    out: BytesMut,
}

impl Default for Markup {
    fn default() -> Self {
        Self {
            out: BytesMut::with_capacity(768),
        }
    }
}

impl Markup {
    fn raw(&mut self, markup: &str) {
        self.out.put_slice(markup.as_bytes());
    }

    fn text(&mut self, text: &str) {
        escape_text(&mut self.out, text);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.raw(" ");
        self.raw(name);
        self.raw("=\"");
        escape_attribute(&mut self.out, value);
        self.raw("\"");
    }

    fn element(&mut self, name: &str, text: &str) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
        self.text(text);
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }
}
