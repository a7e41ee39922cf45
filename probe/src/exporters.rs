//! Exporters: what an application does itself with every event.
//!
//! Prometheus and OpenTelemetry are the business of the program `atomscope`, outside the node.

use atomscope_layout::event::TelemetryEvent;

pub mod config;

/// Is told every event, on a thread of its own.
pub trait Exporter: Send + Sync + 'static {
    /// An event. May block and may panic: neither reaches the node.
    fn on_event(&self, event: &TelemetryEvent);

    /// For whoever shuts the exporter down; the probe does not call it.
    fn shutdown(&self) {}
}
