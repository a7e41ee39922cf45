//! How values of the command line are written: intervals, sizes, times.

use std::time::Duration;

use atomscope::follow::Since;
use atomscope::text::clean;
use jiff::Timestamp;

/// A day at most: nobody waits longer for a line.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An interval: digits, then ms, s or m; without those they are seconds, as in vmstat.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let wanted = || {
        format!(
            "{} is no interval: a number of seconds is wanted, or a number and ms, s or m, such as 500ms or 1s",
            clean(text)
        )
    };
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("", 1000)];
    let time = parse_time(text, &units).ok_or_else(wanted)?;
    if time.is_zero() || time > MAX_INTERVAL {
        return Err(format!("{text} cannot be an interval: it must be longer than 0 and at most a day"));
    }
    Ok(time)
}

fn parse_time(text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, ms) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*ms).map(Duration::from_millis)
}

pub fn parse_since(text: &str) -> Result<Since, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    if let Some(age) = parse_time(text, &units) {
        return Ok(Since::Ago(age));
    }
    let wanted = "a time in RFC 3339 is wanted, such as 2030-01-31T12:00:00Z, or an age such as 30s or 5m";
    text.parse::<Timestamp>().map(|time| Since::At(time.as_nanosecond())).map_err(|_| wanted.to_owned())
}

pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "a number of bytes is wanted, such as 4294967296 or 4G".to_owned())
}
