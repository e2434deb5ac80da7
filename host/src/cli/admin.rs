//! How subcommands speak to the admin listener.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::Ended;
use crate::client::{Answer, Client};

/// Where the admin listener is, and its token.
#[derive(Args, Debug, Clone)]
pub(super) struct Admin {
    /// The gateway's admin listener
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TIERGATE_ADMIN_URL",
        default_value = "http://127.0.0.1:8003"
    )]
    admin: String,
    /// The file that holds the admin token; by default that of the default data directory
    #[arg(long, global = true, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

impl Admin {
    /// The admin listener at this URL, whose token is in this file.
    pub fn at(admin: String, admin_token_file: Option<PathBuf>) -> Self {
        Self { admin, admin_token_file }
    }

    /// Sends one request.
    pub async fn send(self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        Ok(self.client()?.send(method, path, body).await?)
    }

    /// A client that has the token.
    pub fn client(self) -> anyhow::Result<Client> {
        let file = self.admin_token_file.unwrap_or_else(|| crate::config::default_data_dir().join("admin.token"));
        let token = std::fs::read_to_string(&file).with_context(|| {
            format!("the admin token in {}; name another file with --admin-token-file", file.display())
        })?;
        Ok(Client::new(&self.admin, Some(token.trim().to_owned()))?)
    }
}

/// Takes an answer apart: its body, or what the gateway says against it, which is printed.
pub(super) fn body(answer: &Answer) -> anyhow::Result<Result<Value, Ended>> {
    let value: Value = serde_json::from_slice(&answer.body).context("the gateway's answer is no JSON")?;
    if answer.status == StatusCode::OK {
        return Ok(Ok(value));
    }
    eprintln!("{}", value["error"]["message"].as_str().unwrap_or("refused, without a reason"));
    Ok(Err(Ended::NotDone))
}

/// Prints a value as JSON.
pub(super) fn print(value: &impl Serialize) -> anyhow::Result<Ended> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(Ended::Done)
}
