//! `tiergate log level [FILTER]` and `tiergate log tail`.

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;

use super::Ended;
use super::admin::{self, Admin, By};

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    by: By,
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Print what is logged, or change it until the gateway ends
    Level {
        /// What to log, such as `info` or `tiergate::tier=debug,info`
        filter: Option<String>,
    },
    /// Print the last lines that were logged, the oldest first
    Tail,
}

pub(super) async fn run(args: LogArgs) -> anyhow::Result<Ended> {
    let level = "/api/admin/log-level";
    let (method, path, body) = match args.command {
        LogCommand::Tail => (Method::GET, "/api/admin/log".to_owned(), Bytes::new()),
        LogCommand::Level { filter: None } => (Method::GET, level.to_owned(), Bytes::new()),
        LogCommand::Level { filter: Some(filter) } => {
            (Method::PUT, format!("{level}?{}", args.by.query()), filter.into())
        }
    };
    let answer = args.admin.send(method, &path, body).await?;
    match admin::body(&answer)? {
        Ok(body) => admin::print(&body),
        Err(ended) => Ok(ended),
    }
}
