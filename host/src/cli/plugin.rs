//! `tiergate plugin list|load|shadow|report|use|rollback|discard|audit|tape|replay`, and the author kit of `plugin_kit`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};

use super::Ended;
use super::admin::{self, Admin, By};
use super::plugin_kit::{self, KitCommand};
use crate::plugin::{self, PluginSpec};

/// How long a step may take: a component made from Python or JavaScript is compiled for seconds, on a busy machine for longer.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Args, Debug)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: AnyCommand,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    by: By,
}

#[derive(Subcommand, Debug)]
enum AnyCommand {
    #[command(flatten)]
    Kit(KitCommand),
    #[command(flatten)]
    Operate(PluginCommand),
}

#[derive(Subcommand, Debug)]
enum PluginCommand {
    /// Print every slot: what runs, what waits, what can be rolled back to
    List,
    /// Give a component to a slot as its candidate; nothing of it serves yet
    Load {
        /// The slot, such as `aggregator`
        slot: String,
        /// The component
        file: PathBuf,
        /// Its configuration as JSON; by default that of the active plugin
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
        /// The SHA-256 that it must have
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// The file with its minisign signature; by default FILE.minisig, if it is there
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
    },
    /// Ask the candidate what the active version is asked; nothing of it is served
    Shadow {
        /// The slot
        slot: String,
    },
    /// Print how the version that runs beside the active one has answered
    Report {
        /// The slot
        slot: String,
    },
    /// Save the last calls of a slot
    Tape {
        /// The slot
        slot: String,
        /// Where to
        file: PathBuf,
    },
    /// Ask a component what a tape's plugin was asked, and print what it would have decided otherwise
    Replay {
        /// The component
        component: PathBuf,
        /// The tape, as `tape` saved it
        tape: PathBuf,
        /// Its configuration as JSON; by default the one that it had on the tape, or that of the plugin which answered last
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
    },
    /// Let the candidate serve, with the state of the one before it
    Use {
        /// The slot
        slot: String,
        /// Start without the old state
        #[arg(long)]
        fresh: bool,
    },
    /// Let the plugin serve again that was active before
    Rollback {
        /// The slot
        slot: String,
        /// Start without the newer state
        #[arg(long)]
        fresh: bool,
    },
    /// Forget a candidate or a previous version
    Discard {
        /// The slot
        slot: String,
        /// Its generation, as `list` prints it
        generation: u64,
    },
    /// Print what was done, the newest first
    Audit,
}

pub(super) async fn run(args: PluginArgs) -> anyhow::Result<Ended> {
    let command = match args.command {
        AnyCommand::Kit(command) => return plugin_kit::run(command).await,
        AnyCommand::Operate(command) => command,
    };
    let by = args.by.name();
    let step = |slot: &str, step: &str, more: &[(&str, &str)]| {
        let slot = percent_encoding::utf8_percent_encode(slot, percent_encoding::NON_ALPHANUMERIC);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("by", &by).extend_pairs(more);
        format!("/api/admin/plugins/{slot}/{step}?{}", query.finish())
    };
    let fresh = |fresh: bool| [("fresh", if fresh { "true" } else { "false" })];
    let mut save_to = None;
    let (method, path, body) = match command {
        PluginCommand::Replay { component, tape, config } => return replay(component, &tape, config.as_deref()),
        PluginCommand::List => (Method::GET, "/api/admin/plugins".to_owned(), Bytes::new()),
        PluginCommand::Audit => (Method::GET, "/api/admin/audit".to_owned(), Bytes::new()),
        PluginCommand::Load { slot, file, config, sha256, signature } => {
            let component = component(&file)?;
            let signature = match signature {
                Some(named) => Some(std::fs::read_to_string(&named).with_context(|| named.display().to_string())?),
                None => {
                    plugin::read_signature(&file).with_context(|| format!("the signature of {}", file.display()))?
                }
            };
            let more =
                [("config", config.as_deref()), ("sha256", sha256.as_deref()), ("signature", signature.as_deref())];
            let more: Vec<_> = more.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            (Method::POST, step(&slot, "load", &more), component)
        }
        PluginCommand::Shadow { slot } => (Method::POST, step(&slot, "shadow", &[]), Bytes::new()),
        PluginCommand::Report { slot } => (Method::GET, step(&slot, "report", &[]), Bytes::new()),
        PluginCommand::Tape { slot, file } => {
            save_to = Some(file);
            (Method::GET, step(&slot, "tape", &[]), Bytes::new())
        }
        PluginCommand::Use { slot, fresh: is_fresh } => {
            (Method::POST, step(&slot, "use", &fresh(is_fresh)), Bytes::new())
        }
        PluginCommand::Rollback { slot, fresh: is_fresh } => {
            (Method::POST, step(&slot, "rollback", &fresh(is_fresh)), Bytes::new())
        }
        PluginCommand::Discard { slot, generation } => {
            let generation = generation.to_string();
            (Method::POST, step(&slot, "discard", &[("generation", generation.as_str())]), Bytes::new())
        }
    };
    let answer = args.admin.client()?.with_deadline(PATIENCE).send(method, &path, body).await?;
    match save_to.filter(|_| answer.status == StatusCode::OK) {
        Some(file) => {
            std::fs::write(&file, &answer.body).with_context(|| file.display().to_string())?;
            Ok(Ended::Done)
        }
        None => match admin::body(&answer)? {
            Ok(body) => admin::print(&body),
            Err(ended) => Ok(ended),
        },
    }
}

/// Replays a tape here; no gateway is asked.
fn replay(component: PathBuf, tape: &Path, config: Option<&str>) -> anyhow::Result<Ended> {
    let config = config.map(serde_json::from_str).transpose().context("--config is no JSON")?;
    let tape = std::fs::read(tape).with_context(|| tape.display().to_string())?;
    let name = component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let spec = PluginSpec { name, path: Some(component), config: config.unwrap_or_default() };
    let code = tempfile::tempdir()?;
    let replay = plugin::replay(&spec, &tape, &code.path().join("code"))?;
    let printed = admin::print(&replay)?;
    let is_same = replay.different == 0 && replay.skipped == 0 && replay.faults.is_empty();
    Ok(if is_same { printed } else { Ended::NotDone })
}

/// The component in `file`. One that no gateway takes is not sent to any.
fn component(file: &Path) -> anyhow::Result<Bytes> {
    let size = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
    anyhow::ensure!(
        size <= plugin::FILE_BYTES_MAX.as_u64(),
        "{} is larger than {}; build it optimised and without debug information",
        file.display(),
        plugin::FILE_BYTES_MAX
    );
    Ok(std::fs::read(file).with_context(|| file.display().to_string())?.into())
}
