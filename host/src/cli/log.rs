//! `tiergate log level [FILTER]`.

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;

use super::Ended;
use super::admin::{self, Admin};

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Print what is logged, or change it until the gateway ends
    Level {
        /// What to log, such as `info` or `tiergate::tier=debug,info`
        filter: Option<String>,
    },
}

pub(super) async fn run(args: LogArgs) -> anyhow::Result<Ended> {
    let LogCommand::Level { filter } = args.command;
    let (method, body) = match filter {
        None => (Method::GET, Bytes::new()),
        Some(filter) => (Method::PUT, filter.into()),
    };
    let answer = args.admin.send(method, "/api/admin/log-level", body).await?;
    match admin::body(&answer)? {
        Ok(body) => admin::print(&body),
        Err(ended) => Ok(ended),
    }
}
