//! Parsers for values of the command line: intervals, sizes, times.

use std::ffi::OsString;
use std::time::Duration;

use atomscope::follow::Since;
use atomscope::text::{clean, clean_os};
use jiff::Timestamp;

use crate::program::output::Failure;

/// A longer interval is most likely a mistake.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

/// Parses a number from 1 on.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "give a whole number, at least 1".to_owned())
}

/// Whether the text is digits only.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses an interval: digits with ms, s or m. Without a unit they are seconds, as in vmstat.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_span(text, "interval")
}

/// Parses a time that something lasts, in the form of an interval.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_span(text, "duration")
}

/// `what` is the noun for the text in errors.
fn parse_span(text: &str, what: &str) -> Result<Duration, String> {
    let invalid = || {
        format!(
            "{} is not a valid {what}; give a whole number of seconds, or one with ms, s or m, such as 500ms or 1s",
            clean(text)
        )
    };
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("", 1000)];
    let time = parse_time(text, &units).ok_or_else(invalid)?;
    if time.is_zero() || time > MAX_INTERVAL {
        return Err(format!("{text} is not a valid {what}; it must be longer than 0 and at most a day"));
    }
    Ok(time)
}

/// WHO, INTERVAL and COUNT of a command.
pub type Repeated = (Option<OsString>, Option<OsString>, Option<u64>);

/// Moves the arguments of `command` if WHO is left out: `stat 1s 5` has an interval and a count. A first argument of digits
/// only is a pid.
pub fn shifted(
    command: &'static str,
    who: Option<OsString>,
    interval: Option<OsString>,
    count: Option<u64>,
) -> Result<Repeated, Failure> {
    let has_unit =
        |text: &OsString| text.to_str().is_some_and(|text| !is_number(text) && parse_interval(text).is_ok());
    let is_interval = who.as_ref().is_some_and(has_unit);
    if !is_interval || interval.as_ref().is_some_and(has_unit) {
        return Ok((who, interval, count));
    }
    if count.is_some() {
        let why = format!("{} is not an interval; try 1s", clean_os(&interval.unwrap_or_default()));
        return Err(Failure::usage_of(command, why));
    }
    let number = |text: OsString| {
        text.to_str().and_then(|text| text.parse().ok()).filter(|count| *count > 0).ok_or_else(|| {
            Failure::usage_of(command, format!("{} is not a count; give at least 1", clean_os(&text)))
        })
    };
    Ok((None, who, interval.map(number).transpose()?))
}

/// Parses digits with one of `units`, which are in milliseconds.
fn parse_time(text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, ms) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*ms).map(Duration::from_millis)
}

/// Parses a time in RFC 3339 or an age.
pub fn parse_since(text: &str) -> Result<Since, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    if let Some(age) = parse_time(text, &units) {
        return Ok(Since::Ago(age));
    }
    let invalid = "give a time in RFC 3339, such as 2030-01-31T12:00:00Z, or an age, such as 30s or 5m";
    text.parse::<Timestamp>().map(|time| Since::At(time.as_nanosecond())).map_err(|_| invalid.to_owned())
}

/// Parses a number of bytes with an optional binary unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "give a number of bytes, such as 4294967296 or 4G".to_owned())
}

#[cfg(test)]
mod tests {
    use atomscope::attach::MAX_BYTES;

    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_binary_unit_and_the_default_is_the_librarys() {
        assert_eq!(parse_size("4G"), Ok(MAX_BYTES));
        assert_eq!(parse_size("10k"), Ok(10 << 10));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "G", "-1", "1.5G", "99999999T", "4é"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervals_are_whole_numbers_with_a_unit_or_seconds() {
        assert_eq!(parse_interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_interval("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_interval("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "s",
            "0s",
            "0",
            "1.5s",
            "1.5",
            "5h",
            "-1s",
            " 1s",
            "99999999999m",
            "99999999999999999999s",
            "99999999999999999999",
            "86401",
        ] {
            assert!(parse_interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_what_the_help_of_stuck_says() {
        let ms = |text| parse_duration(text).unwrap().as_millis();
        let said = ["1", "500ms", "5s", "2m", "86400", "1440m"].map(ms);
        assert_eq!(said, [1000, 500, 5000, 120_000, 86_400_000, 86_400_000]);
        for bad in ["0", "1.5", "86401", "2h"] {
            assert!(parse_duration(bad).is_err_and(|why| why.contains("valid duration")), "{bad}");
        }
    }

    #[test]
    fn a_time_to_begin_with_is_a_date_or_an_age() {
        assert_eq!(parse_since("2h"), Ok(Since::Ago(Duration::from_secs(7200))));
        assert_eq!(parse_since("1970-01-01T00:00:01+00:00"), Ok(Since::At(1_000_000_000)));
        for bad in ["", "yesterday", "2030-01-31", "5", "99999999999999999999d"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
    }
}
