//! `tiergate cache get|put|delete|explain KEY` and `tiergate cache keys TEXT`.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};

use super::admin::{self, Admin};
use super::{Ended, Remote, explain};
use crate::client::{Answer, Client};

#[derive(Args, Debug)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Subcommand, Debug)]
enum CacheCommand {
    /// Print a value; where it came from goes to standard error
    Get {
        /// Its key
        key: String,
    },
    /// Write a value to every tier; the outcome of each is printed
    Put {
        /// Its key
        key: String,
        /// The JSON, or `-` for standard input
        #[arg(value_name = "JSON", required_unless_present = "file")]
        value: Option<String>,
        /// Take the JSON from this file
        #[arg(long, value_name = "FILE", conflicts_with = "value")]
        file: Option<PathBuf>,
        /// Time to live, such as `300` (seconds) or `5m`; by default the policy's for the key
        #[arg(long)]
        ttl: Option<String>,
        /// The codec that turns the JSON, the answer of some origin, into a payload of the key
        #[arg(long, value_name = "NAME")]
        codec: Option<String>,
    },
    /// Print what every tier holds of a key, who wrote it, what was refused, and what a reader would get
    Explain {
        /// The key
        key: String,
        /// Print the gateway's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the keys that contain a text, of those that the gateway has in memory or saw written lately
    Keys {
        /// The text; by default all keys
        #[arg(default_value = "")]
        text: String,
    },
    /// Remove a value from every tier; the outcome of each is printed
    Delete {
        /// Its key
        key: String,
    },
}

pub(super) async fn run(args: CacheArgs) -> anyhow::Result<Ended> {
    let client = Client::new(&args.remote.url, args.remote.token)?;
    let none = Bytes::new();
    let answer = match args.command {
        CacheCommand::Get { key } => client.send(Method::GET, &Client::key_path(&key), none).await?,
        CacheCommand::Explain { key, json } => return explain::run(args.admin, &key, json).await,
        CacheCommand::Keys { text } => return keys(args.admin, &text).await,
        CacheCommand::Delete { key } => client.send(Method::DELETE, &Client::key_path(&key), none).await?,
        CacheCommand::Put { key, value, file, ttl, codec } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in [("ttl", ttl), ("codec", codec)] {
                query.extend_pairs(value.map(|value| (name, value)));
            }
            let path = format!("{}?{}", Client::key_path(&key), query.finish());
            client.send(Method::PUT, &path, payload(value, file)?).await?
        }
    };
    print(&answer)
}

async fn keys(admin: Admin, text: &str) -> anyhow::Result<Ended> {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("contains", text).finish();
    let answer = admin.send(Method::GET, &format!("/api/admin/keys?limit=1000&{query}"), Bytes::new()).await?;
    match admin::body(&answer)? {
        Ok(body) => admin::print(&body),
        Err(ended) => Ok(ended),
    }
}

fn payload(value: Option<String>, file: Option<PathBuf>) -> anyhow::Result<Bytes> {
    match (value, file) {
        (_, Some(file)) => Ok(std::fs::read(&file).with_context(|| file.display().to_string())?.into()),
        (Some(value), None) if value != "-" => Ok(value.into()),
        _ => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
            Ok(bytes.into())
        }
    }
}

fn print(answer: &Answer) -> anyhow::Result<Ended> {
    if let Some(status) = &answer.cache_status {
        eprintln!("{status}");
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&answer.body)?;
    writeln!(out)?;
    // 200 alone means that all of it was done.
    Ok(if answer.status == StatusCode::OK { Ended::Done } else { Ended::NotDone })
}
