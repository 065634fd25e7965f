//! The Warning header (RFC 3261 section 20.43).

use std::fmt::Write;

/// The text of the first warning: `399 host "text"`.
#[must_use]
pub fn warning_text(value: &str) -> Option<String> {
    let (_, quoted) = value.split_once('"')?;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(character) = chars.next() {
        match character {
            '"' => break,
            '\\' => text.extend(chars.next()),
            character => text.push(character),
        }
    }
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A miscellaneous warning. Characters that a header cannot hold become spaces.
#[must_use]
pub fn write_warning(host: &str, text: &str) -> String {
    let mut value = String::with_capacity(host.len() + text.len() + 8);
    write!(value, "399 {host} \"").expect("writing to a string");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                value.push('\\');
                value.push(character);
            }
            character if character.is_control() => value.push(' '),
            character => value.push(character),
        }
    }
    value.push('"');
    value
}
