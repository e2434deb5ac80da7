//! `tiergate ingest FILE|-`: posts signals in batches, so that those of a live stream are seen at once.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use hyper::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::time::{Instant, timeout_at};

use super::{Ended, Remote};
use crate::client::Client;

/// Signals in one request.
const BATCH_LINES_MAX: usize = 1_000;

/// A line waits at most this long for others to go with it.
const BATCH_SPAN_MAX: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(super) struct IngestArgs {
    /// A file with a JSON array or with one JSON object a line; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// What has become of the signals.
#[derive(Default)]
struct Sum {
    accepted: u64,
    rejected: u64,
    /// Answers other than 200.
    incomplete: u64,
}

pub(super) async fn run(args: IngestArgs) -> anyhow::Result<Ended> {
    let client = Client::new(&args.remote.url, args.remote.token)?;
    let from_stdin = args.file.as_os_str() == "-";
    let name = if from_stdin { "standard input".to_owned() } else { args.file.display().to_string() };
    let mut sum = Sum::default();
    let progress;
    if from_stdin {
        progress = bar(None);
        let mut input = BufReader::new(tokio::io::stdin());
        post_all(&client, &mut input, &progress, &mut sum).await.context(name)?;
    } else {
        let file = tokio::fs::File::open(&args.file).await.with_context(|| name.clone())?;
        progress = bar(Some(file.metadata().await?.len()));
        post_all(&client, &mut BufReader::new(file), &progress, &mut sum).await.context(name)?;
    }
    progress.finish_and_clear();
    eprintln!("{} accepted, {} rejected", sum.accepted, sum.rejected);
    Ok(if sum.incomplete == 0 && sum.rejected == 0 { Ended::Done } else { Ended::NotDone })
}

async fn post_all(
    client: &Client,
    input: &mut (impl AsyncBufRead + Unpin),
    progress: &ProgressBar,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    // An array can only be read whole; lines can be sent as they come.
    if input.fill_buf().await?.trim_ascii_start().first() == Some(&b'[') {
        let mut whole = Vec::new();
        input.read_to_end(&mut whole).await?;
        return post(client, whole, progress, sum).await;
    }
    let (mut batch, mut line) = (Vec::new(), Vec::new());
    let mut lines = 0;
    let mut send_at = None;
    loop {
        // What a read that runs out of time has got of a line stays in `line`, and the next read goes on with it.
        let read = input.read_until(b'\n', &mut line);
        let ended = match send_at {
            None => read.await? == 0,
            Some(at) => match timeout_at(at, read).await {
                Ok(read) => read? == 0,
                Err(_) => {
                    post(client, std::mem::take(&mut batch), progress, sum).await?;
                    (lines, send_at) = (0, None);
                    continue;
                }
            },
        };
        batch.append(&mut line);
        lines += 1;
        if ended || lines >= BATCH_LINES_MAX {
            if !batch.is_empty() {
                post(client, std::mem::take(&mut batch), progress, sum).await?;
            }
            (lines, send_at) = (0, None);
        } else if send_at.is_none() {
            send_at = Some(Instant::now() + BATCH_SPAN_MAX);
        }
        if ended {
            return Ok(());
        }
    }
}

async fn post(client: &Client, batch: Vec<u8>, progress: &ProgressBar, sum: &mut Sum) -> anyhow::Result<()> {
    let bytes = batch.len() as u64;
    let answer = client.send(Method::POST, "/api/signals", Bytes::from(batch)).await?;
    let report: serde_json::Value = serde_json::from_slice(&answer.body).context("the answer is no JSON")?;
    // A refused request carries the same fields as details of its error.
    let counts = report.get("details").unwrap_or(&report);
    sum.accepted += counts["accepted"].as_u64().unwrap_or(0);
    sum.rejected += counts["rejected"]["count"].as_u64().unwrap_or(0);
    if answer.status != StatusCode::OK {
        sum.incomplete += 1;
        progress.suspend(|| eprintln!("{}: {report}", answer.status));
    }
    progress.inc(bytes);
    Ok(())
}

/// A bar on a terminal; nothing elsewhere.
fn bar(length: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
