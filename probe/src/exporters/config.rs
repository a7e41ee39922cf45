//! `atomr-telemetry`'s configuration of exporters, so that files written for it still parse.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Which exporters there are to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ExportersConfig {
    #[serde(default)]
    pub prometheus: Option<PrometheusConfig>,
    #[serde(default)]
    pub otlp: Option<OtlpConfig>,
}

/// Prometheus.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrometheusConfig {
    /// Stands before each metric's name.
    #[serde(default)]
    pub namespace: Option<String>,
    /// On unless told.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self { namespace: None, enabled: true }
    }
}

/// OpenTelemetry's own protocol.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OtlpConfig {
    /// On unless told.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The collector's URL.
    pub endpoint: String,
    /// `grpc`, unless told, or `http`.
    #[serde(default = "grpc")]
    pub protocol: String,
    /// The resource attribute `service.name`.
    #[serde(default)]
    pub service_name: Option<String>,
    /// Seconds from one push of the metrics to the next; 30 unless told.
    #[serde(default = "half_a_minute")]
    pub interval_secs: u64,
    /// Headers of each request.
    #[serde(default)]
    pub headers: HashMap<String, String>,
    /// More resource attributes.
    #[serde(default)]
    pub resource_attributes: HashMap<String, String>,
    /// Whether traces are sent too; they are unless told.
    #[serde(default = "yes")]
    pub traces: bool,
    /// Writes to the standard output instead.
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
