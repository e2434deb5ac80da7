//! Compiling in a child process of this binary, at the lowest priority and under limits of its own, so that neither a hostile
//! file nor an honest big one is felt by those who are being served.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use bytesize::ByteSize;
use rlimit::Resource;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::timeout;

use super::compiled::{self, CodeCache};
use super::engine;
use super::limits::CompileLimits;

/// The hidden subcommand by which the child is started.
pub const SUBCOMMAND: &str = "compile-plugin";

/// Addresses of the child. The engine's own reservations are part of it.
const ADDRESSES_MAX: ByteSize = ByteSize::gib(64);

/// How the standard library says that there is no more memory.
const NO_MEMORY: &str = "memory allocation of";

/// What the kernel sends to a process that has used up its processor time.
const OVER_TIME: [i32; 2] = [Signal::XCPU.as_raw(), Signal::KILL.as_raw()];

/// What the child is told on its command line.
#[derive(clap::Args, Debug)]
pub struct Task {
    /// The component
    file: PathBuf,
    /// Where the code is kept
    cache_dir: PathBuf,
    /// Under which digest
    sha256: String,
    /// Processor time that it may take
    processor_seconds: u64,
    /// Memory that it may hold
    memory_bytes: u64,
}

/// Compiles the component in `file` and keeps its code in `cache_dir` under `sha256`.
///
/// # Errors
///
/// What is wrong with the component, or what it took too much of.
pub(super) async fn compile(file: &Path, sha256: &str, cache_dir: &Path, limits: &CompileLimits) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let mut command = Command::new(this);
    command.arg(SUBCOMMAND).args([file, cache_dir]).arg(sha256);
    command.args([limits.processor_seconds(), limits.memory.as_u64()].map(|limit| limit.to_string()));
    // Nothing of this process's secrets is its business.
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("the compiler could not be started: {error}"))?;
    match timeout(limits.deadline, child.wait_with_output()).await {
        Err(_) => Err(format!("compiling it took more than {:?}; make it smaller", limits.deadline)),
        Ok(Err(error)) => Err(format!("the compiler was lost: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(why(&output, limits)),
    }
}

/// Why the child failed.
fn why(Output { status, stderr, .. }: &Output, limits: &CompileLimits) -> String {
    let said = String::from_utf8_lossy(stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    if said.contains(NO_MEMORY) {
        return format!("compiling it took more than {} of memory; make it smaller", limits.memory);
    }
    match (status.signal(), last) {
        (Some(signal), _) if OVER_TIME.contains(&signal) => {
            format!("compiling it took more than {} s of processor time; make it smaller", limits.processor_seconds())
        }
        (_, Some(last)) => last.to_owned(),
        (_, None) => format!("the compiler ended with {status}"),
    }
}

// === impl Task ===

impl Task {
    /// What the child does.
    ///
    /// # Errors
    ///
    /// What is wrong with the component, on one line.
    pub fn run(&self) -> Result<(), String> {
        // The gateway reads one line.
        panic::set_hook(Box::new(|panic| eprintln!("the compiler {}", panic.to_string().replace('\n', " "))));
        let told = |error: io::Error| error.to_string();
        rustix::process::nice(19).map_err(|error| told(error.into()))?;
        for (resource, most) in [
            (Resource::CPU, self.processor_seconds),
            (Resource::DATA, self.memory_bytes),
            (Resource::AS, ADDRESSES_MAX.as_u64()),
            (Resource::CORE, 0),
        ] {
            resource.set(most, most).map_err(told)?;
        }
        let engine = engine::compiler().map_err(|error| format!("{error:#}"))?;
        let cache = CodeCache::open(&self.cache_dir, &engine).map_err(told)?;
        let component = std::fs::read(&self.file).map_err(told)?;
        let code = compiled::compile(&engine, &component).map_err(|error| format!("{error:#}").replace('\n', " "))?;
        cache.put(&self.sha256, &code).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn check(status: i32, said: &str, expected: &str) {
        let output =
            Output { status: ExitStatus::from_raw(status), stdout: Vec::new(), stderr: said.as_bytes().to_vec() };
        let told = why(&output, &CompileLimits::default());
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_the_child_took_too_much_of_is_told() {
        check(1 << 8, "it is broken\n", "it is broken");
        check(6, "memory allocation of 99 bytes failed\n", "more than 4.0 GiB of memory");
        check(24, "", "s of processor time");
        check(9, "", "s of processor time");
        check(11, "", "ended with signal: 11");
        check(6, "thread 'main' has overflowed its stack\nfatal runtime error: stack overflow\n\n", "stack overflow");
    }
}
