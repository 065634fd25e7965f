//! SQL text with its values: what the engine replicates.

use hiqlite::Param;

/// One statement of a transaction. The text is a constant of this crate, never built from input.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Param>,
}

impl Statement {
    pub(crate) fn new(sql: &'static str, params: impl IntoIterator<Item = Param>) -> Self {
        Self {
            sql,
            params: params.into_iter().collect(),
        }
    }
}

pub(crate) fn text(value: &str) -> Param {
    Param::Text(value.to_owned())
}

pub(crate) fn optional_text(value: Option<&str>) -> Param {
    value.map_or(Param::Null, text)
}

pub(crate) fn blob(value: &[u8]) -> Param {
    Param::Blob(value.to_vec())
}

pub(crate) fn optional_blob(value: Option<&[u8]>) -> Param {
    value.map_or(Param::Null, blob)
}

/// SQLite knows only signed integers; counters and millisecond times stay far below the limit.
pub(crate) fn integer(value: impl TryInto<i64>) -> Param {
    Param::Integer(value.try_into().unwrap_or(i64::MAX))
}

pub(crate) fn optional_integer<T: TryInto<i64>>(value: Option<T>) -> Param {
    value.map_or(Param::Null, integer)
}

/// The way back: a stored counter. Negative values never get in.
pub(crate) fn counter(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
