//! RTF reduced to what it says (Rich Text Format specification 1.9.1).
//!
//! Groups that are no text (fonts, colours, styles, pictures, everything behind `\*`) are passed over;
//! `\'xx` bytes are read by the code page of the font or of the document, `\uN` as UTF-16.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::TextFault;

/// Most groups open at once.
const MAX_GROUPS: usize = 256;
/// Most fonts that are remembered.
const MAX_FONTS: usize = 256;

/// Destinations whose groups hold no text of the message.
const SKIPPED: [&str; 19] = [
    "colortbl",
    "stylesheet",
    "info",
    "pict",
    "object",
    "header",
    "headerl",
    "headerr",
    "headerf",
    "footer",
    "footerl",
    "footerr",
    "footerf",
    "footnote",
    "listtable",
    "listoverridetable",
    "revtbl",
    "rsidtbl",
    "fldinst",
];

/// The text.
///
/// # Errors
/// [`TextFault::Malformed`] if it does not start like RTF, [`TextFault::TooLarge`] beyond
/// [`MAX_GROUPS`].
pub(super) fn to_text(body: &[u8]) -> Result<String, TextFault> {
    let body = body.trim_ascii_start();
    if !body.starts_with(b"{\\rtf") {
        return Err(TextFault::Malformed);
    }
    let mut reader = Reader {
        out: String::with_capacity(body.len() / 2),
        bytes: Vec::new(),
        high_surrogate: None,
        page: WINDOWS_1252,
        fonts: Vec::new(),
        groups: Vec::new(),
        state: State {
            place: Place::Text,
            font: None,
            fallback: 1,
            hidden: false,
        },
        skip: 0,
        may_be_destination: false,
    };
    reader.read(body)?;
    reader.flush();
    Ok(reader.out)
}

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    FontTable,
    Skipped,
}

/// What the end of a group restores.
#[derive(Debug, Clone, Copy)]
struct State {
    place: Place,
    /// The encoding of the current font, if it has one of its own.
    font: Option<&'static Encoding>,
    /// How many bytes stand in for each `\uN` (`\ucN`).
    fallback: usize,
    hidden: bool,
}

struct Reader {
    out: String,
    /// Bytes of the current code page that wait for their end: two make a character in East Asia.
    bytes: Vec<u8>,
    high_surrogate: Option<u16>,
    /// The document's code page.
    page: &'static Encoding,
    /// Font numbers and their encodings; in the font table, the last one is being defined.
    fonts: Vec<(i32, Option<&'static Encoding>)>,
    groups: Vec<State>,
    state: State,
    /// Fallback characters yet to be passed over.
    skip: usize,
    /// The next control word may make this group a destination.
    may_be_destination: bool,
}

impl Reader {
    fn read(&mut self, body: &[u8]) -> Result<(), TextFault> {
        let mut rest = body;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'{' => self.open()?,
                b'}' => {
                    if self.close() {
                        return Ok(());
                    }
                }
                b'\\' => rest = self.control(rest),
                b'\r' | b'\n' | 0 => {}
                byte => self.literal(byte),
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), TextFault> {
        if self.groups.len() >= MAX_GROUPS {
            return Err(TextFault::TooLarge);
        }
        self.skip = 0;
        self.groups.push(self.state);
        self.may_be_destination = true;
        Ok(())
    }

    /// Says whether the document is over.
    fn close(&mut self) -> bool {
        self.flush();
        self.skip = 0;
        if let Some(state) = self.groups.pop() {
            self.state = state;
        }
        self.groups.is_empty()
    }

    /// Follows what stands behind a backslash; returns the rest.
    fn control<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some((&first, after)) = rest.split_first() else {
            return rest;
        };
        if !first.is_ascii_alphabetic() {
            return self.symbol(first, after);
        }
        let name_len = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let (name, after) = rest.split_at(name_len);
        let signed = usize::from(after.first() == Some(&b'-'));
        let digits = after[signed..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number_len = if digits == 0 { 0 } else { signed + digits };
        let (number, after) = after.split_at(number_len);
        let number = std::str::from_utf8(number)
            .ok()
            .and_then(|number| number.parse::<i32>().ok());
        let after = after.strip_prefix(b" ").unwrap_or(after);
        let name = std::str::from_utf8(name).unwrap_or_default();
        if name == "bin" {
            // Raw bytes, among them braces.
            let len = usize::try_from(number.unwrap_or(0)).unwrap_or(0);
            return &after[len.min(after.len())..];
        }
        if self.skip > 0 {
            self.skip -= 1;
            return after;
        }
        self.word(name, number);
        after
    }

    fn symbol<'a>(&mut self, symbol: u8, after: &'a [u8]) -> &'a [u8] {
        match symbol {
            b'\'' => {
                let digit = |at: usize| {
                    let digit = char::from(*after.get(at)?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                if let (Some(high), Some(low)) = (digit(0), digit(1)) {
                    self.literal(high << 4 | low);
                    return &after[2..];
                }
            }
            b'*' if self.may_be_destination => self.state.place = Place::Skipped,
            b'\r' | b'\n' => self.push('\n'),
            b'~' => self.push(' '),
            b'_' => self.push('-'),
            b'{' | b'}' | b'\\' => self.literal(symbol),
            _ => {}
        }
        after
    }

    fn word(&mut self, name: &str, number: Option<i32>) {
        let may_be_destination = std::mem::take(&mut self.may_be_destination);
        match name {
            "fonttbl" if may_be_destination => self.state.place = Place::FontTable,
            name if may_be_destination && SKIPPED.contains(&name) => {
                self.state.place = Place::Skipped;
            }
            "ansicpg" => self.page = number.and_then(code_page).unwrap_or(self.page),
            "mac" => self.page = encoding_rs::MACINTOSH,
            "f" => self.font(number.unwrap_or(0)),
            "fcharset" if self.state.place == Place::FontTable => {
                if let (Some(font), Some(charset)) = (self.fonts.last_mut(), number) {
                    font.1 = font_charset(charset);
                }
            }
            "uc" => self.state.fallback = usize::try_from(number.unwrap_or(1)).unwrap_or(1).min(16),
            "u" => {
                if let Some(number) = number {
                    self.unit(number);
                }
            }
            "v" => self.state.hidden = number != Some(0),
            "plain" => {
                self.flush();
                self.state.font = None;
                self.state.hidden = false;
            }
            "par" | "line" | "sect" | "page" | "row" => self.push('\n'),
            "tab" | "cell" => self.push('\t'),
            "lquote" => self.push('\u{2018}'),
            "rquote" => self.push('\u{2019}'),
            "ldblquote" => self.push('\u{201c}'),
            "rdblquote" => self.push('\u{201d}'),
            "bullet" => self.push('\u{2022}'),
            "endash" => self.push('\u{2013}'),
            "emdash" => self.push('\u{2014}'),
            "enspace" | "emspace" | "qmspace" => self.push(' '),
            _ => {}
        }
    }

    /// Selects a font, or defines one in the font table.
    fn font(&mut self, number: i32) {
        self.flush();
        if self.state.place == Place::FontTable {
            if self.fonts.len() < MAX_FONTS {
                self.fonts.push((number, None));
            }
            return;
        }
        self.state.font = self
            .fonts
            .iter()
            .find(|(listed, _)| *listed == number)
            .and_then(|&(_, encoding)| encoding);
    }

    fn is_text(&self) -> bool {
        self.state.place == Place::Text && !self.state.hidden
    }

    /// A byte of text in the current code page.
    fn literal(&mut self, byte: u8) {
        self.may_be_destination = false;
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.is_text() {
            self.bytes.push(byte);
        }
    }

    fn push(&mut self, character: char) {
        self.may_be_destination = false;
        if self.is_text() {
            self.flush();
            self.out.push(character);
        }
    }

    /// A UTF-16 unit, written as a signed number.
    fn unit(&mut self, number: i32) {
        self.skip = self.state.fallback;
        if !self.is_text() {
            return;
        }
        // Some writers do not use the sign.
        let Ok(unit) = u16::try_from(number.rem_euclid(0x1_0000)) else {
            return;
        };
        self.flush_bytes();
        match (self.high_surrogate.take(), unit) {
            (None, 0xd800..=0xdbff) => self.high_surrogate = Some(unit),
            (high, unit) => {
                let units = high.into_iter().chain([unit]);
                self.out.extend(
                    char::decode_utf16(units)
                        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
            }
        }
    }

    /// Nothing more belongs to what came before.
    fn flush(&mut self) {
        self.flush_bytes();
        if self.high_surrogate.take().is_some() {
            self.out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn flush_bytes(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        if self.high_surrogate.take().is_some() {
            self.out.push(char::REPLACEMENT_CHARACTER);
        }
        let encoding = self.state.font.unwrap_or(self.page);
        let (text, _) = encoding.decode_without_bom_handling(&self.bytes);
        self.out.push_str(&text);
        self.bytes.clear();
    }
}

/// The encoding of a Windows code page; those of DOS, which no client of today writes, are none.
fn code_page(number: i32) -> Option<&'static Encoding> {
    let label = match number {
        866 => "ibm866".to_owned(),
        874 => "windows-874".to_owned(),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        1250..=1258 => format!("windows-{number}"),
        10000 => "macintosh".to_owned(),
        65001 => "utf-8".to_owned(),
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}

/// The encoding of a `\fcharsetN`; none for those that follow the document.
fn font_charset(number: i32) -> Option<&'static Encoding> {
    code_page(match number {
        0 => 1252,
        77 => 10000,
        128 => 932,
        129 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    })
}
