//! Exporters: application code that receives every event.
//!
//! The probe itself has no exporter for Prometheus or OpenTelemetry: that is work for a reader outside the node.
//!
//! ```
//! use std::sync::Arc;
//!
//! use atomscope_probe::TelemetryExtension;
//! use atomscope_probe::bus::TelemetryEvent;
//! use atomscope_probe::exporters::Exporter;
//!
//! struct Log;
//!
//! impl Exporter for Log {
//!     fn on_event(&self, event: &TelemetryEvent) {
//!         println!("{event:?}");
//!     }
//! }
//!
//! TelemetryExtension::new("shop-1", 1024).add_exporter(Arc::new(Log));
//! ```

use atomscope_layout::event::TelemetryEvent;

pub mod config;

/// Receives every event, on a thread of its own.
pub trait Exporter: Send + Sync + 'static {
    /// Called for each event. It may block, and then misses events that are overwritten meanwhile. It may panic, and then gets
    /// the next event.
    fn on_event(&self, event: &TelemetryEvent);

    /// For the application that shuts the exporter down. The probe does not call it.
    fn shutdown(&self) {}
}
