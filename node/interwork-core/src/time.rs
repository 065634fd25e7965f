//! Points in time as the two worlds write them, to the second.

use std::fmt;

/// Seconds since the Unix epoch, UTC, in the years 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(u64);

const DAY: u64 = 86_400;
/// The first second of the year 10000, which neither notation can write.
const END: u64 = 253_402_300_800;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The epoch was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A point in time in the calendar.
struct Calendar {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl UtcTime {
    /// From seconds since the epoch; none after the year 9999.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Option<Self> {
        (seconds < END).then_some(Self(seconds))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// Reads `2002-09-10T23:08:25Z`, with a fraction or an offset if need be (XEP-0082, RFC 3339);
    /// so are stamps of delays (XEP-0203) and of idle clients (XEP-0319) and times in presence
    /// documents written. A leap second counts as the one before.
    #[must_use]
    pub fn from_datetime(text: &str) -> Option<Self> {
        let text = text.trim();
        let (year, month, day) = (
            number(text, 0..4)?,
            number(text, 5..7)?,
            number(text, 8..10)?,
        );
        let (hour, minute, second) = (
            number(text, 11..13)?,
            number(text, 14..16)?,
            number(text, 17..19)?,
        );
        let marks = [4, 7, 10, 13, 16].map(|at| text.as_bytes()[at]);
        if !matches!(marks, [b'-', b'-', b'T' | b't' | b' ', b':', b':']) {
            return None;
        }
        let local = Calendar {
            year,
            month,
            day,
            hour,
            minute,
            second,
        }
        .seconds()?;
        let rest = text.get(19..)?;
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let seconds = match zone.as_bytes() {
            b"Z" | b"z" => Some(local),
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let (hours, minutes) = (number(zone, 1..3)?, number(zone, 4..6)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let offset = hours * 3_600 + minutes * 60;
                if *sign == b'+' {
                    local.checked_sub(offset)
                } else {
                    Some(local + offset)
                }
            }
            _ => None,
        };
        Self::from_unix(seconds?)
    }

    /// Reads the value of a SIP Date header: `Tue, 10 Sep 2002 23:08:25 GMT` (RFC 3261 section 20.17).
    #[must_use]
    pub fn from_sip_date(text: &str) -> Option<Self> {
        let (_, date) = text.trim().split_once(", ")?;
        let mut words = date.split(' ');
        let mut word = || words.next();
        let (day, month, year, clock, zone) = (word()?, word()?, word()?, word()?, word()?);
        if !zone.eq_ignore_ascii_case("GMT") || clock.len() != 8 || year.len() != 4 || day.len() > 2
        {
            return None;
        }
        let month = MONTHS
            .iter()
            .position(|name| name.eq_ignore_ascii_case(month))?;
        let seconds = Calendar {
            year: number(year, 0..4)?,
            month: month as u64 + 1,
            day: number(day, 0..day.len())?,
            hour: number(clock, 0..2)?,
            minute: number(clock, 3..5)?,
            second: number(clock, 6..8)?,
        }
        .seconds()?;
        Self::from_unix(seconds)
    }

    /// `2002-09-10T23:08:25Z`
    #[must_use]
    pub fn to_datetime(self) -> String {
        let Calendar {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.calendar();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// `Tue, 10 Sep 2002 23:08:25 GMT`
    #[must_use]
    pub fn to_sip_date(self) -> String {
        let Calendar {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.calendar();
        let weekday = WEEKDAYS[(self.0 / DAY % 7) as usize];
        let month = MONTHS[month as usize - 1];
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// The calendar of the Gregorian reform, counted in eras of 400 years that begin on 1 March.
    fn calendar(self) -> Calendar {
        let (days, second) = (self.0 / DAY, self.0 % DAY);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Calendar {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

impl Calendar {
    /// Seconds since the epoch; `None` for what is not in the calendar or before the epoch.
    fn seconds(&self) -> Option<u64> {
        let divides = |n| self.year.is_multiple_of(n);
        let leap = divides(4) && (!divides(100) || divides(400));
        let days_in_month = match self.month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days_in_month).contains(&self.day)
            || self.hour > 23
            || self.minute > 59
            || self.second > 60
        {
            return None;
        }
        let year = self.year - u64::from(self.month <= 2);
        let month_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        let second = self.hour * 3_600 + self.minute * 60 + self.second.min(59);
        Some(days.checked_sub(719_468)? * DAY + second)
    }
}

/// Digits only; `parse` alone would take a sign.
fn number(text: &str, range: std::ops::Range<usize>) -> Option<u64> {
    let digits = text.get(range)?;
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}

/// As [`UtcTime::to_datetime`].
impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_notations_of_known_moments() {
        for (seconds, datetime, date) in [
            (0, "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (
                1_031_699_305,
                "2002-09-10T23:08:25Z",
                "Tue, 10 Sep 2002 23:08:25 GMT",
            ),
            (
                1_709_210_096,
                "2024-02-29T12:34:56Z",
                "Thu, 29 Feb 2024 12:34:56 GMT",
            ),
            (
                END - 1,
                "9999-12-31T23:59:59Z",
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ),
        ] {
            let time = UtcTime::from_unix(seconds).unwrap();
            assert_eq!(time.to_datetime(), datetime);
            assert_eq!(time.to_sip_date(), date);
            assert_eq!(UtcTime::from_datetime(datetime), Some(time));
            assert_eq!(UtcTime::from_sip_date(date), Some(time));
        }
        assert_eq!(UtcTime::from_unix(END), None);
    }

    #[test]
    fn offsets_and_fractions_count() {
        let noon = UtcTime::from_datetime("2024-06-01T12:00:00Z");
        for same in [
            "2024-06-01T14:00:00.250+02:00",
            "2024-06-01T09:30:00-02:30",
            " 2024-06-01t12:00:00.1z ",
        ] {
            assert_eq!(UtcTime::from_datetime(same), noon, "{same}");
        }
        assert_eq!(
            UtcTime::from_datetime("2016-12-31T23:59:60Z"),
            UtcTime::from_datetime("2016-12-31T23:59:59Z")
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2024-06-01",
            "2024-06-01T12:00:00",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-06-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:30:00+01:00",
            "2024-06-01T12:00:00+99:00",
            "+024-06-01T12:00:00Z",
            "2024-06-01T12:00:00é",
        ] {
            assert_eq!(UtcTime::from_datetime(text), None, "{text}");
        }
        for text in [
            "10 Sep 2002 23:08:25 GMT",
            "Tue, 10 Sep 2002 23:08:25 CEST",
            "Tue, 31 Sep 2002 23:08:25 GMT",
            "Tue, 10 Sep 2002 23:08 GMT",
        ] {
            assert_eq!(UtcTime::from_sip_date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_survives(seconds in 0..END) {
            let time = UtcTime::from_unix(seconds).unwrap();
            prop_assert_eq!(UtcTime::from_datetime(&time.to_datetime()), Some(time));
            prop_assert_eq!(UtcTime::from_sip_date(&time.to_sip_date()), Some(time));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in r"[0-9TZ:+. ,A-Za-zé-]{0,40}") {
            let _ = UtcTime::from_datetime(&text);
            let _ = UtcTime::from_sip_date(&text);
        }
    }
}
