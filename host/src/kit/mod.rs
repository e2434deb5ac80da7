//! The workshop of plugin authors: [`create`] writes a project, [`build`] makes a component of it with the ordinary tools of its
//! language.
//!
//! A project is a folder with a [`Manifest`], a copy of the contract in `wit/`, and the source. The templates are the plugins
//! in `plugins/examples/`, embedded in this binary, so that the two cannot differ. Whether the result is a good plugin is the
//! business of `plugin::kit`.

mod build;
mod manifest;
mod template;
mod tool;

use std::io;
use std::path::{Path, PathBuf};

pub use build::build;
pub use manifest::{Kind, Language, Manifest};
pub use template::create;

/// Why a project was not written, or not built.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The name cannot be a plugin's.
    #[error("`{0}` cannot be the name of a plugin; take lower-case words joined by `-`, at most 64 bytes")]
    Name(String),
    /// There is something already.
    #[error("{} is not empty; name another folder with --dir", .0.display())]
    NotEmpty(PathBuf),
    /// A file could not be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// The folder's `plugin.toml` is missing or wrong.
    #[error("{}: {why}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A tool of the language is missing.
    #[error("{language} plugins need {tool}, which is not here; {fix}")]
    Missing {
        /// The language.
        language: &'static str,
        /// The tool.
        tool: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// A tool ended with an error, which it has printed.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
    },
    /// What the tools made is not a component.
    #[error("{}: {why}", path.display())]
    Component {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> KitError {
    move |why| KitError::File { path: path.to_owned(), why }
}
