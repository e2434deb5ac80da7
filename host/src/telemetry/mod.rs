//! What the gateway says about itself: log lines and metrics. Every room may use it; it knows none of them but the vocabulary.

pub mod log;
pub mod metrics;
pub mod plugin_metrics;
