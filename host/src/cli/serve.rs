//! `tiergate`: serves until it is told to stop.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Ended, ServeArgs};
use crate::client::Client;
use crate::config::Config;
use crate::demo::{self, Candles, Feed};
use crate::gateway::Gateway;
use crate::telemetry::log;

/// The configuration where none is named.
const DEFAULT_FILE: &str = "tiergate.toml";

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<Ended> {
    let (config, mistakes) = if args.demo {
        let (config, mistakes) = Config::read(None);
        (config.map(Config::for_demo), mistakes)
    } else {
        Config::read(file(args.config).as_deref())
    };
    if let Some((config, filter)) = config.as_ref().and_then(|config| Some((config, config.log.filter().ok()?))) {
        log::start(filter, config.log.format);
    }
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is; it bounds the connections");
    }
    let write_token =
        config.as_ref().and_then(|config| config.http.write_token.as_ref()).map(|t| t.reveal().to_owned());
    let gateway = match Gateway::new(config, mistakes).await {
        Ok(gateway) => gateway,
        Err(mistakes) => {
            eprint!("{mistakes}");
            return Ok(Ended::Usage);
        }
    };
    let data = gateway.bound().data.local_addr().context("the data listener has no address")?;
    let admin = gateway.bound().admin.local_addr().context("the admin listener has no address")?;
    let unix = gateway.bound().unix.as_ref().map(|(_, path)| path.display().to_string());
    tracing::info!(dashboard = %format!("{}://{data}/mobile", gateway.bound().scheme()), %admin, unix, tiers = ?gateway.tiers(), "serving");
    if args.demo {
        let feed = Feed::new(Candles::load().context("the demo's candles are unreadable")?);
        tokio::spawn(demo::replay(feed, Client::new(&format!("http://{data}"), write_token)?));
    }
    let (tell, stop) = watch::channel(false);
    let stopping = tokio::spawn(async move {
        let name = told_to_stop().await;
        tracing::info!(signal = name, "stopping: open requests may end");
        tell.send_replace(true);
        // The sender must outlive the drain.
        tell.closed().await;
    });
    gateway.serve(stop).await;
    stopping.abort();
    tracing::info!("stopped");
    Ok(Ended::Done)
}

/// The configuration to read: the one that is named, or the one that is there.
pub(super) fn file(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into()))
}

async fn told_to_stop() -> &'static str {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "a signal cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => "SIGINT",
        () = wait(SignalKind::terminate()) => "SIGTERM",
    }
}
