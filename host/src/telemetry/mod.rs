//! What the gateway says about itself: log lines, metrics, and who changed what. Every room may use it; it knows none of them but the vocabulary.

pub mod audit;
pub mod history;
pub mod log;
pub mod metrics;
pub mod plugin_metrics;
pub mod tail;
