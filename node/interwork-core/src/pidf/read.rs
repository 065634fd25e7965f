//! From bytes to what a document says.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Show;

use super::activity::Activity;
use super::{CIPID_NS, CONTENT_TYPE, DATA_MODEL_NS, IM_STATUS_NS, PIDF_NS, PidfFault};
use crate::document::{Bounds, read_document};
use crate::media::MediaType;
use crate::presence::Availability;
use crate::time::UtcTime;

/// The basic status of a tuple (RFC 3863 section 4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basic {
    /// Ready to accept messages.
    Open,
    /// Not ready.
    Closed,
}

/// What is said beside the basic status, of a device or of the person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// `<show/>` of XMPP, put into the document as RFC 8048 section 5.2 describes.
    pub show: Option<Show>,
    /// What the activities say of availability.
    pub activities: Vec<Availability>,
    /// Words of the first activity that says more than availability.
    pub words: Option<String>,
    /// Not used for a while.
    pub idle: bool,
    /// The time of the last use.
    pub idle_since: Option<UtcTime>,
    /// The first note.
    pub note: Option<String>,
}

impl Details {
    /// Whether anything is said of availability.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        self.show.is_some() || self.idle || !self.activities.is_empty()
    }
}

/// One device or service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Its id; empty if it has none.
    pub id: String,
    /// The basic status.
    pub basic: Option<Basic>,
    /// Whatever else is said.
    pub details: Details,
    /// Where to reach it.
    pub contact: Option<String>,
    /// The contact's priority in thousandths; none counts as the lowest (RFC 3863 section 4.1.5).
    pub priority: Option<u16>,
    /// When this was written.
    pub timestamp: Option<UtcTime>,
}

/// A presence document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Whose presence it is, as it was written: any scheme or none.
    pub entity: String,
    /// The person's name.
    pub display_name: Option<String>,
    /// Devices, in order.
    pub tuples: Vec<Tuple>,
    /// What is said of the person.
    pub persons: Vec<Details>,
    /// The first note on everything.
    pub note: Option<String>,
}

/// Reads a presence document.
///
/// # Errors
/// If the type is not [`CONTENT_TYPE`], or the body is no presence document or beyond
/// [`Bounds::BODY`].
pub fn read(content_type: &str, body: &[u8]) -> Result<Document, PidfFault> {
    if MediaType::parse(content_type).is_none_or(|media| media.name() != CONTENT_TYPE) {
        return Err(PidfFault::ContentType);
    }
    let root = read_document(body, &Bounds::BODY)?;
    // COMPAT some SIMPLE clients: the namespace left out.
    if root.name() != "presence" || !matches!(root.ns(), PIDF_NS | "") {
        return Err(PidfFault::NotPresence);
    }
    let mut document = Document {
        entity: root
            .get_attr("entity")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        ..Document::default()
    };
    for child in root.elements() {
        match (child.ns(), child.name()) {
            (PIDF_NS | "", "tuple") => document.tuples.push(tuple(child)),
            (PIDF_NS | "", "note") => keep_first(&mut document.note, child),
            (DATA_MODEL_NS, "person") => document.persons.push(details_of([child])),
            (CIPID_NS, "display-name") => keep_first(&mut document.display_name, child),
            _ => {}
        }
    }
    Ok(document)
}

fn tuple(element: &Element) -> Tuple {
    let status = element.elements().find(|child| is_pidf(child, "status"));
    let basic = status
        .and_then(|status| status.elements().find(|child| is_pidf(child, "basic")))
        .and_then(|basic| match basic.content_text().trim() {
            open if open.eq_ignore_ascii_case("open") => Some(Basic::Open),
            closed if closed.eq_ignore_ascii_case("closed") => Some(Basic::Closed),
            _ => None,
        });
    let contact = element.elements().find(|child| is_pidf(child, "contact"));
    let timestamp = element.elements().find(|child| is_pidf(child, "timestamp"));
    Tuple {
        id: element.get_attr("id").unwrap_or_default().to_owned(),
        basic,
        details: details_of(status.into_iter().chain([element])),
        contact: contact.and_then(text_of),
        priority: contact
            .and_then(|contact| contact.get_attr("priority"))
            .and_then(thousandths),
        timestamp: timestamp
            .and_then(|timestamp| UtcTime::from_datetime(&timestamp.content_text())),
    }
}

/// Collects what the children of some elements say.
fn details_of<'a>(elements: impl IntoIterator<Item = &'a Element>) -> Details {
    let mut details = Details::default();
    for child in elements.into_iter().flat_map(Element::elements) {
        match (child.ns(), child.name()) {
            (ns::CLIENT, "show") => {
                details.show = details
                    .show
                    .or_else(|| Show::from_text(child.content_text().trim()));
            }
            (IM_STATUS_NS, "im") => add_activity(&mut details, &child.content_text()),
            (PIDF_NS | DATA_MODEL_NS | "", "note") => keep_first(&mut details.note, child),
            (namespace, name) if is_rpid(namespace) => rpid(&mut details, child, name),
            _ => {}
        }
    }
    details
}

/// Any of the namespaces that RPID has had: the RFC's and those of its drafts, which split it by place.
fn is_rpid(namespace: &str) -> bool {
    namespace
        .strip_prefix(PIDF_NS)
        .is_some_and(|rest| rest.starts_with(':') && rest.contains("rpid"))
}

fn rpid(details: &mut Details, element: &Element, name: &str) {
    match name {
        // RFC 4480 names an activity by an element, the drafts by the text of <activity/>.
        "activities" => {
            for child in element.elements() {
                match child.name() {
                    "note" => keep_first(&mut details.note, child),
                    "activity" => add_activity(details, &child.content_text()),
                    "other" => {
                        details.words = details.words.take().or_else(|| text_of(child));
                    }
                    name => add_activity(details, name),
                }
            }
        }
        "activity" => add_activity(details, &element.content_text()),
        "user-input" if element.content_text().trim().eq_ignore_ascii_case("idle") => {
            details.idle = true;
            details.idle_since = element
                .get_attr("last-input")
                .and_then(UtcTime::from_datetime);
        }
        "idle" => {
            details.idle = true;
            details.idle_since = element.get_attr("since").and_then(UtcTime::from_datetime);
        }
        _ => {}
    }
}

fn add_activity(details: &mut Details, name: &str) {
    let Some(activity) = Activity::named(name) else {
        return;
    };
    details.activities.extend(activity.availability);
    if details.words.is_none() {
        details.words = activity.words.map(str::to_owned);
    }
}

fn is_pidf(element: &Element, name: &str) -> bool {
    element.name() == name && matches!(element.ns(), PIDF_NS | "")
}

fn text_of(element: &Element) -> Option<String> {
    let text = element.content_text();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn keep_first(slot: &mut Option<String>, element: &Element) {
    if slot.is_none() {
        *slot = text_of(element);
    }
}

/// A priority from 0 to 1 (RFC 3863 section 4.1.5) in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let value: f32 = text.trim().parse().ok()?;
    (0.0..=1.0)
        .contains(&value)
        .then(|| (value * 1_000.0).round() as u16)
}
