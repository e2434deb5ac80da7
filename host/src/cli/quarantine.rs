//! `tiergate quarantine list|show|delete`.

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;

use super::Ended;
use super::admin::{self, Admin, By};

#[derive(Args, Debug)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    command: QuarantineCommand,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    by: By,
}

#[derive(Subcommand, Debug)]
enum QuarantineCommand {
    /// Print every payload that could not be decoded, the newest first
    List,
    /// Print one of them
    Show {
        /// Its number, as `list` prints it
        id: u64,
    },
    /// Remove exactly its bytes from the store; newer ones stay
    Delete {
        /// Its number, as `list` prints it
        id: u64,
    },
}

pub(super) async fn run(args: QuarantineArgs) -> anyhow::Result<Ended> {
    let one = |id: u64| format!("/api/admin/quarantine/{id}");
    let (method, path) = match args.command {
        QuarantineCommand::List => (Method::GET, "/api/admin/quarantine".to_owned()),
        QuarantineCommand::Show { id } => (Method::GET, one(id)),
        QuarantineCommand::Delete { id } => (Method::DELETE, format!("{}?{}", one(id), args.by.query())),
    };
    let answer = args.admin.send(method, &path, Bytes::new()).await?;
    match admin::body(&answer)? {
        Ok(body) => admin::print(&body),
        Err(ended) => Ok(ended),
    }
}
