//! The process's environment: the switch that turns the probe off, what an operator sets instead of the program, and where
//! warnings go.

use std::ffi::OsString;
use std::io::Write as _;

use atomscope_layout::region::Override;

/// Whether the environment turns the probe off (`ATOMSCOPE=off`).
pub(crate) fn turned_off() -> bool {
    std::env::var_os("ATOMSCOPE").is_some_and(|value| value.eq_ignore_ascii_case("off"))
}

/// What the environment has for this setting; an empty text is nothing.
pub(crate) fn set(setting: Override) -> Option<OsString> {
    std::env::var_os(setting.variable()).filter(|value| !value.is_empty())
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
