//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now in nanoseconds since 1970, UTC.
pub(crate) fn now_unix_ns() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}
