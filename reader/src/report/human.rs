//! Numbers in the form in which people read them.

use std::time::Duration;

/// `1.5 s`, `2 min 3 s`, `4 h 5 min`, `6 d 7 h`.
pub fn duration(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{:.1} s", time.as_millis() as f64 / 1000.0),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// `17 bytes`, `4.0 KiB`, `12.5 MiB`, `1.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    let of = |shift: u32, unit| format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64);
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => of(10, "KiB"),
        0x10_0000..0x4000_0000 => of(20, "MiB"),
        _ => of(30, "GiB"),
    }
}

/// `1 actor`, `2 actors`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Seconds with a precision of a millisecond, as JSON has ages.
pub fn seconds(age: Duration) -> f64 {
    age.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_come_in_the_unit_that_fits() {
        let said = [1500, 123_000, 14_700_000, 543_600_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(said, ["1.5 s", "2 min 3 s", "4 h 5 min", "6 d 7 h"]);
        let said = [17, 4096, 13_107_200, 1 << 30].map(bytes);
        assert_eq!(said, ["17 bytes", "4.0 KiB", "12.5 MiB", "1.0 GiB"]);
    }
}
