//! `tiergate config check`: everything that serving would check, and then not serving.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Ended, serve};
use crate::config::Mistakes;

#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Report every mistake in the configuration: keys, addresses, plugins
    Check {
        /// The configuration; by default `tiergate.toml` in this directory, if it is there
        #[arg(long, value_name = "FILE", env = "TIERGATE_CONFIG")]
        config: Option<PathBuf>,
    },
}

pub(super) async fn run(args: ConfigArgs) -> anyhow::Result<Ended> {
    let ConfigCommand::Check { config } = args.command;
    let file = serve::file(config);
    let (config, mut mistakes) = crate::config::Config::read(file.as_deref());
    // A gateway that already runs with this configuration holds its ports and its disk tier: those are not tried here.
    if let Some(config) = &config {
        mistakes.extend(crate::gateway::check_plugins(config).await);
    }
    if mistakes.is_empty() {
        println!("{}: no mistakes", file.map_or_else(|| "defaults".to_owned(), |file| file.display().to_string()));
        return Ok(Ended::Done);
    }
    eprint!("{}", Mistakes(mistakes));
    Ok(Ended::Usage)
}
