//! The bus that probes publish on.

use std::sync::Arc;

/// A cloneable handle of a node's event bus.
#[derive(Debug, Clone)]
pub struct TelemetryBus {
    _shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    _capacity: usize,
}

impl TelemetryBus {
    /// A bus that keeps at least so many recent events per thread. Any number is allowed; it is brought within what
    /// is possible.
    pub fn new(capacity: usize) -> Self {
        Self { _shared: Arc::new(Shared { _capacity: capacity }) }
    }
}
