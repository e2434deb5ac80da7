//! The `tiergate` binary: see [`tiergate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tiergate::cli::main()
}
