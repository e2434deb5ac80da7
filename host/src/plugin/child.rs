//! Compiling in a child process of this binary, at the lowest priority and under limits of its own, so that neither a hostile
//! file nor an honest big one is felt by those who are being served.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytesize::ByteSize;
use rlimit::Resource;
use tokio::process::Command;
use tokio::time::timeout;

use super::compiled::{self, CodeCache};
use super::engine;

/// The hidden subcommand by which the child is started.
pub const SUBCOMMAND: &str = "compile-plugin";

/// The longest that a compilation may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Processor time of a compilation, in seconds.
const CPU_SECONDS_MAX: u64 = 120;

/// Addresses of the child. The engine's own reservations are part of it.
const ADDRESSES_MAX: ByteSize = ByteSize::gib(64);

/// Compiles the component in `file` and keeps its code in `cache_dir` under `sha256`.
///
/// # Errors
///
/// What is wrong with the component, or that it took too long.
pub(super) async fn compile(file: &Path, sha256: &str, cache_dir: &Path) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let mut command = Command::new(this);
    command.arg(SUBCOMMAND).args([file, cache_dir]).arg(sha256);
    // Nothing of this process's secrets is its business.
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("the compiler could not be started: {error}"))?;
    match timeout(DEADLINE, child.wait_with_output()).await {
        Err(_) => Err(format!("compiling it took more than {DEADLINE:?}; make it smaller")),
        Ok(Err(error)) => Err(format!("the compiler was lost: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().trim();
            Err(if last.is_empty() { format!("the compiler ended with {}", output.status) } else { last.to_owned() })
        }
    }
}

/// What the child does.
///
/// # Errors
///
/// What is wrong with the component, on one line.
pub fn run(file: &Path, cache_dir: &Path, sha256: &str) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    rustix::process::nice(19).map_err(|error| told(error.into()))?;
    Resource::CPU.set(CPU_SECONDS_MAX, CPU_SECONDS_MAX).map_err(told)?;
    Resource::AS.set(ADDRESSES_MAX.as_u64(), ADDRESSES_MAX.as_u64()).map_err(told)?;
    let engine = engine::compiler().map_err(|error| format!("{error:#}"))?;
    let cache = CodeCache::open(cache_dir, &engine).map_err(told)?;
    let component = std::fs::read(file).map_err(told)?;
    let code = compiled::compile(&engine, &component).map_err(|error| format!("{error:#}").replace('\n', " "))?;
    cache.put(sha256, &code).map_err(told)
}
