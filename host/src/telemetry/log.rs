//! The log: one line per event on standard error, as text or JSON.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The log's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directives such as `info` or `tiergate::tier=debug,info`.
    pub level: String,
    /// See [`Format`].
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

impl Config {
    /// Checks the directives.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn filter(&self) -> Result<EnvFilter, String> {
        EnvFilter::from_str(&self.level).map_err(|error| error.to_string())
    }
}

/// Starts logging. A second call in one process (as tests make) changes nothing.
pub fn start(filter: EnvFilter, format: Format) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the log was already started");
    }
}
