//! Presence documents: PIDF with activities of an early draft inside the status, as Office
//! Communications Server wrote it; and enough reading to judge what others write.

/// What a user of Office Communicator shows to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Available,
    Busy,
    Away,
    Offline,
}

/// Writes the document.
pub fn write(user: &str, shown: Shown) -> String {
    let (basic, activity) = match shown {
        Shown::Available => ("open", None),
        Shown::Busy => ("open", Some("busy")),
        Shown::Away => ("open", Some("away")),
        Shown::Offline => ("closed", None),
    };
    let activity = activity.map_or_else(String::new, |word| {
        format!("<ep:activities><ep:activity>{word}</ep:activity></ep:activities>")
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" \
         xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:{user}\">\
         <tuple id=\"0\"><status><basic>{basic}</basic>{activity}</status></tuple>\
         <ci:display-name>{user}</ci:display-name></presence>"
    )
}

/// What one reads out of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub entity: String,
    pub basic: String,
    pub activity: Option<String>,
    pub note: Option<String>,
    pub text: String,
}

impl Document {
    pub fn read(text: &str) -> Self {
        Self {
            entity: attribute(text, "entity").unwrap_or_default(),
            basic: element(text, "basic").unwrap_or_default(),
            activity: element(text, "activity"),
            note: element(text, "note"),
            text: text.to_owned(),
        }
    }

    /// As Office Communicator shows it.
    pub fn shown(&self) -> Shown {
        match (self.basic.as_str(), self.activity.as_deref()) {
            ("open", Some("busy")) => Shown::Busy,
            ("open", Some("away")) => Shown::Away,
            ("open", _) => Shown::Available,
            _ => Shown::Offline,
        }
    }
}

/// The text of the first element with this local name.
fn element(text: &str, name: &str) -> Option<String> {
    let start = text.match_indices('<').find_map(|(at, _)| {
        let tag = text[at + 1..].split('>').next()?;
        let qualified = tag.split([' ', '/', '\t', '\r', '\n']).next()?;
        (qualified.rsplit(':').next() == Some(name) && !tag.starts_with('/') && !tag.ends_with('/'))
            .then_some(at + 1 + tag.len() + 1)
    })?;
    text[start..].split('<').next().map(str::to_owned)
}

fn attribute(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next()?;
    rest[1..].split(quote).next().map(str::to_owned)
}
