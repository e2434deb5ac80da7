//! The command line: one file per subcommand.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 not done, or done in part, as the answer says.

mod admin;
mod cache;
mod completions;
mod config;
mod doctor;
mod explain;
mod ingest;
mod log;
mod plugin;
mod plugin_kit;
mod quarantine;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A cache gateway whose policies are WebAssembly plugins.
///
/// Without a subcommand it serves: the dashboard at http://127.0.0.1:8002/mobile, the API beside it, and metrics on
/// 127.0.0.1:8003. See `tiergate --demo` for a dashboard with recorded market data and nothing to install.
#[derive(Parser, Debug)]
#[command(name = "tiergate", version, about, long_about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// The configuration; by default `tiergate.toml` in this directory, if it is there
    #[arg(long, value_name = "FILE", env = "TIERGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Replay recorded candles of 31 symbols as a producer would; no configuration file is read, and the data stays in an
    /// embedded disk tier of its own
    #[arg(long)]
    demo: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Post signals from a file or standard input: a JSON array or one JSON object a line
    Ingest(ingest::IngestArgs),
    /// Read, write or delete one value
    Cache(cache::CacheArgs),
    /// Check the configuration without serving
    Config(config::ConfigArgs),
    /// Write, build and check plugins; load, use, roll back and discard those of a running gateway
    Plugin(plugin::PluginArgs),
    /// Look at payloads that could not be decoded, and remove them from their store
    Quarantine(quarantine::QuarantineArgs),
    /// Look for what is wrong with running gateways and the stores below them: what, where, evidence, fix
    ///
    /// Exit code: 0 nothing, or notes alone; 3 warnings; 1 problems.
    Doctor(doctor::DoctorArgs),
    /// See and change what a running gateway logs
    Log(log::LogArgs),
    /// Compile a component for this gateway, which starts this itself
    #[command(name = crate::plugin::child::SUBCOMMAND, hide = true)]
    CompilePlugin(crate::plugin::child::Task),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// Where the gateway is that a subcommand speaks to.
#[derive(Args, Debug, Clone)]
struct Remote {
    /// The gateway's data listener
    #[arg(long, global = true, value_name = "URL", env = "TIERGATE_URL", default_value = "http://127.0.0.1:8002")]
    url: String,
    /// The write token, where the gateway asks for one
    #[arg(long, global = true, value_name = "TOKEN", env = "TIERGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// How a command ended, when it did not fail.
enum Ended {
    /// Done.
    Done,
    /// Wrong usage or configuration; it has been said.
    Usage,
    /// Failed; what failed has been printed.
    Failed,
    /// Not done, or done in part; the answer has been printed.
    NotDone,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::CompilePlugin(task)) = &cli.command {
        return match task.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tiergate: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match cli.command {
            None => serve::run(cli.serve).await,
            Some(Command::Ingest(args)) => ingest::run(args).await,
            Some(Command::Cache(args)) => cache::run(args).await,
            Some(Command::Config(args)) => config::run(args).await,
            Some(Command::Plugin(args)) => plugin::run(args).await,
            Some(Command::Quarantine(args)) => quarantine::run(args).await,
            Some(Command::Doctor(args)) => doctor::run(args).await,
            Some(Command::Log(args)) => log::run(args).await,
            Some(Command::Completions(args)) => completions::run(&args),
            // Done above, without a runtime.
            Some(Command::CompilePlugin(_)) => Ok(Ended::Done),
        }
    });
    // A blocked thread (standard input, say) must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Ok(Ended::Usage) => ExitCode::from(2),
        Ok(Ended::NotDone) => ExitCode::from(3),
        Err(error) => {
            eprintln!("tiergate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
