//! The process's environment: the switch that turns the probe off, and where warnings go.

use std::io::Write as _;

/// Whether the environment turns the probe off (`ATOMSCOPE=off`).
pub(crate) fn turned_off() -> bool {
    std::env::var_os("ATOMSCOPE").is_some_and(|value| value.eq_ignore_ascii_case("off"))
}

/// Warns the operator: through `tracing` if the program has a subscriber, else on stderr.
pub(crate) fn warn(message: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("atomscope: {message}");
    } else {
        // A closed stderr must not fail the node.
        let _ = writeln!(std::io::stderr(), "atomscope: {message}");
    }
}
