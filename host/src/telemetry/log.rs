//! The log: one line per event on standard error, as text or JSON.

use std::io::IsTerminal as _;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, registry, reload};

use super::tail::Tail;

/// The longest directives that are taken while it runs, in bytes.
pub const LEVEL_BYTES_MAX: usize = 4_096;

/// The way to the filter of this process, which has one log.
static RELOADING: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

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

/// Why the level cannot be told or changed.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// They are longer than [`LEVEL_BYTES_MAX`].
    #[error("directives may have at most {LEVEL_BYTES_MAX} bytes; these have {0}")]
    TooLong(usize),
    /// They are none.
    #[error("{0}; write `info` or `tiergate::tier=debug,info`")]
    Directives(String),
    /// The log was not started by this process.
    #[error("this process has no log whose level could be changed")]
    NoLog,
    /// The log did not take them.
    #[error("the log did not take them: {0}")]
    Reload(String),
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
    let (filter, reloading) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        Format::Text => registry().with(filter).with(Tail).with(lines).try_init(),
        Format::Json => registry().with(filter).with(Tail).with(lines.json().flatten_event(true)).try_init(),
    };
    match started {
        Ok(()) if RELOADING.set(reloading).is_ok() => {}
        Ok(()) => tracing::debug!("the level of the log was already in somebody's hands"),
        Err(error) => tracing::debug!(%error, "the log was already started"),
    }
}

/// The directives that hold now.
///
/// # Errors
///
/// When this process does not log.
pub fn level() -> Result<String, LevelError> {
    let reloading = RELOADING.get().ok_or(LevelError::NoLog)?;
    reloading.with_current(ToString::to_string).map_err(|error| LevelError::Reload(error.to_string()))
}

/// Replaces the directives from the next line on. Nothing but the log changes.
///
/// # Errors
///
/// When they are no directives; then the old ones hold on.
pub fn set_level(level: &str) -> Result<(), LevelError> {
    if level.len() > LEVEL_BYTES_MAX {
        return Err(LevelError::TooLong(level.len()));
    }
    let filter = Config { level: level.to_owned(), ..Config::default() }.filter().map_err(LevelError::Directives)?;
    let reloading = RELOADING.get().ok_or(LevelError::NoLog)?;
    reloading.reload(filter).map_err(|error| LevelError::Reload(error.to_string()))
}
