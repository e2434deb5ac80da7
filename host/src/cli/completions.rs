//! `tiergate completions SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Ended};

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell to print completions for
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Ended> {
    clap_complete::generate(args.shell, &mut Cli::command(), "tiergate", &mut std::io::stdout());
    Ok(Ended::Done)
}
