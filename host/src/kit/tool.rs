//! Running the tools of a language. What they print goes to standard error, so that standard output is this program's.

use std::io;
use std::process::{Command, Output, Stdio};

use super::{KitError, Language};

/// A tool that may be missing.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) language: Language,
    pub(super) name: &'static str,
    /// How to come by it.
    pub(super) fix: &'static str,
}

// === impl Tool ===

impl Tool {
    pub(super) fn missing(self) -> KitError {
        KitError::Missing { language: self.language.title(), tool: self.name, fix: self.fix }
    }

    /// Runs a command of this tool to its end.
    pub(super) fn run(self, command: &mut Command) -> Result<(), KitError> {
        self.done(command.stdout(Stdio::from(io::stderr()))).map(drop)
    }

    /// Runs a command of this tool, and answers what it printed on standard output.
    pub(super) fn output(self, command: &mut Command) -> Result<Vec<u8>, KitError> {
        self.done(command.stdout(Stdio::piped())).map(|output| output.stdout)
    }

    fn done(self, command: &mut Command) -> Result<Output, KitError> {
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let ended = spawned.and_then(std::process::Child::wait_with_output);
        let output = ended.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(),
            _ => failed(command, error.to_string()),
        })?;
        if output.status.success() { Ok(output) } else { Err(failed(command, output.status.to_string())) }
    }
}

fn failed(command: &Command, status: String) -> KitError {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    KitError::Failed { command: words.join(" "), status }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Tool = Tool { language: Language::JavaScript, name: "node", fix: "install Node.js 20 or later" };

    #[test]
    fn a_tool_that_is_missing_is_named_with_the_fix() {
        let error = NODE.run(&mut Command::new("/nonexistent/node")).unwrap_err().to_string();
        assert_eq!(error, "JavaScript plugins need node, which is not here; install Node.js 20 or later");
    }

    #[test]
    fn a_tool_that_fails_is_named_with_its_arguments() {
        let error = NODE.run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 7` failed: exit status: 7");
        assert_eq!(NODE.output(Command::new("echo").arg("a")).unwrap(), b"a\n");
    }
}
