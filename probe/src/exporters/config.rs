//! The exporter configuration of `atomr-telemetry`, so that its files still parse. The probe itself does not use it.
//!
//! ```
//! use atomscope_probe::exporters::config::{ExportersConfig, PrometheusConfig};
//!
//! let config = ExportersConfig { prometheus: Some(PrometheusConfig::default()), otlp: None };
//! assert!(config.prometheus.is_some_and(|prometheus| prometheus.enabled));
//! ```

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The configured exporters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExportersConfig {
    /// The Prometheus exporter.
    #[serde(default)]
    pub prometheus: Option<PrometheusConfig>,
    /// The OpenTelemetry exporter.
    #[serde(default)]
    pub otlp: Option<OtlpConfig>,
}

/// The settings of the Prometheus exporter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrometheusConfig {
    /// The prefix of each metric's name.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether the exporter runs; default true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self { namespace: None, enabled: true }
    }
}

/// The settings of the exporter of OpenTelemetry's own protocol.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OtlpConfig {
    /// Whether the exporter runs; default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The collector's URL.
    pub endpoint: String,
    /// `grpc` (the default) or `http`.
    #[serde(default = "grpc")]
    pub protocol: String,
    /// The resource attribute `service.name`.
    #[serde(default)]
    pub service_name: Option<String>,
    /// Seconds between two pushes of the metrics; default 30.
    #[serde(default = "half_a_minute")]
    pub interval_secs: u64,
    /// The headers of each request.
    #[serde(default)]
    pub headers: HashMap<String, String>,
    /// Further resource attributes.
    #[serde(default)]
    pub resource_attributes: HashMap<String, String>,
    /// Whether traces are sent too; default true.
    #[serde(default = "yes")]
    pub traces: bool,
    /// Whether the exporter writes to the standard output instead.
    #[serde(default)]
    pub stdout: bool,
}

fn yes() -> bool {
    true
}

fn grpc() -> String {
    "grpc".into()
}

fn half_a_minute() -> u64 {
    30
}
