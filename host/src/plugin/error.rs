//! [`PluginError`]: what went wrong in a plugin, named so that an operator knows which one, and an author why.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;

/// A failure of one plugin: `plugin tiergate-codecs 0.1.0: deadline of 50ms exceeded in decode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginError {
    /// The name that the plugin gives itself, or the operator's name for it while it is not known.
    pub plugin: Arc<str>,
    /// The version that the plugin gives itself; `None` while it is not known.
    pub version: Option<Arc<str>>,
    /// The file, where the error is about loading it.
    pub file: Option<PathBuf>,
    /// The call that failed; `None` when no call was made.
    pub call: Option<&'static str>,
    /// What happened.
    pub cause: Cause,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The plugin stopped itself, or broke a rule of WebAssembly: a panic, a full stack, a wild pointer.
    Trap(String),
    /// The call took longer than this.
    Deadline(Duration),
    /// The call asked for more memory than this.
    Memory(ByteSize),
    /// The call asked for a table of more elements than this.
    Table(u32),
    /// The answer was larger than this.
    Output(ByteSize),
    /// The plugin says that its own state is broken.
    Internal(String),
    /// The plugin says that it was asked something wrong.
    InvalidInput(String),
    /// The plugin says that it does not do that.
    Unsupported(String),
    /// The answer is not what the contract promises.
    Contract(String),
    /// No instance became free within this time.
    Busy(Duration),
    /// The plugin was not loaded.
    Refused(String),
}

// === impl PluginError ===

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {}", self.plugin)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        if let Some(file) = &self.file {
            write!(f, " ({})", file.display())?;
        }
        write!(f, ": {}", self.cause.title())?;
        if let Some(call) = self.call {
            write!(f, " in {call}")?;
        }
        match self.cause.detail() {
            "" => Ok(()),
            // A refusal has no title: nothing stands between the plugin and what is to be done about it.
            detail if matches!(self.cause, Cause::Refused(_)) => f.write_str(detail),
            detail => write!(f, ": {detail}"),
        }
    }
}

impl std::error::Error for PluginError {}

// === impl Cause ===

impl Cause {
    /// The label in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Memory(_) => "memory",
            Self::Table(_) => "table",
            Self::Output(_) => "output",
            Self::Internal(_) => "internal",
            Self::InvalidInput(_) => "invalid-input",
            Self::Unsupported(_) => "unsupported",
            Self::Contract(_) => "contract",
            Self::Busy(_) => "busy",
            Self::Refused(_) => "refused",
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Trap(_) => "trap".to_owned(),
            Self::Deadline(limit) => format!("deadline of {limit:?} exceeded"),
            Self::Memory(limit) => format!("memory limit of {limit} exceeded"),
            Self::Table(limit) => format!("table limit of {limit} elements exceeded"),
            Self::Output(limit) => format!("answer larger than {limit}"),
            Self::Internal(_) => "internal error".to_owned(),
            Self::InvalidInput(_) => "invalid input".to_owned(),
            Self::Unsupported(_) => "not supported".to_owned(),
            Self::Contract(_) => "contract broken".to_owned(),
            Self::Busy(limit) => format!("no free instance within {limit:?}"),
            Self::Refused(_) => String::new(),
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Trap(text)
            | Self::Internal(text)
            | Self::InvalidInput(text)
            | Self::Unsupported(text)
            | Self::Contract(text)
            | Self::Refused(text) => text,
            Self::Deadline(_) | Self::Memory(_) | Self::Table(_) | Self::Output(_) | Self::Busy(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: Option<&str>, call: Option<&'static str>, cause: Cause, expected: &str) {
        let error = PluginError {
            plugin: "tiergate-codecs".into(),
            version: Some("0.1.0".into()),
            file: file.map(PathBuf::from),
            call,
            cause,
        };
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_names_plugin_version_and_call() {
        check(
            None,
            Some("decode"),
            Cause::Deadline(Duration::from_millis(50)),
            "plugin tiergate-codecs 0.1.0: deadline of 50ms exceeded in decode",
        );
        check(
            None,
            Some("ingest"),
            Cause::Internal("lost count".into()),
            "plugin tiergate-codecs 0.1.0: internal error in ingest: lost count",
        );
        check(
            Some("x.wasm"),
            None,
            Cause::Refused("this is a core module".into()),
            "plugin tiergate-codecs 0.1.0 (x.wasm): this is a core module",
        );
    }
}
