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

/// A subscriber of `tracing` that does this for each event.
#[cfg(test)]
pub(crate) struct OnEvent<F>(pub(crate) F);

#[cfg(test)]
impl<F: Fn() + Send + Sync + 'static> tracing::Subscriber for OnEvent<F> {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
