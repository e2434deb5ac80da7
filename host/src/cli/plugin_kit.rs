//! `tiergate plugin new|build|check|bench`: the author kit. None of it needs a gateway.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};
use tokio::task::spawn_blocking;

use super::Ended;
use crate::kit::{self, Kind, Language};
use crate::plugin::kit::{self as engine, Bench, CheckLine, PluginKind, Report, Request, Timing};
use crate::telemetry::log;

/// Where the inputs of failures are saved.
const SAVE_DIR: &str = "tiergate-check";

/// The seed that is taken when none is named, so that everybody sees the same.
const SEED: u64 = 1;

#[derive(Subcommand, Debug)]
pub(super) enum KitCommand {
    /// Write a plugin project that builds as it is
    New {
        /// What it decides
        #[arg(value_enum)]
        kind: KindArg,
        /// Its name: lower-case words joined by `-`
        name: String,
        /// What it is written in
        #[arg(long, value_enum)]
        lang: LanguageArg,
        /// The folder to write; by default one of its name
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Build a plugin project with the tools of its language
    Build {
        /// The project
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Check a component against the contract: fixtures, damaged and hostile inputs, repeatability, state, limits
    Check(ComponentArgs),
    /// Measure a component, and the built-in plugin of its kind beside it
    Bench(ComponentArgs),
}

#[derive(Args, Debug)]
pub(super) struct ComponentArgs {
    /// The component
    file: PathBuf,
    /// Its kind; by default that of the interface that it exports
    #[arg(long, value_enum, value_name = "KIND")]
    world: Option<KindArg>,
    /// Its configuration
    #[arg(long, value_name = "JSON", value_parser = json)]
    config: Option<serde_json::Value>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What damaged and hostile inputs are made from: the same number gives the same inputs
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// Repeat one input that a check has saved
    #[arg(long, value_name = "SAVED")]
    input: Option<PathBuf>,
    /// Print what the plugin logs, from this level on
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum KindArg {
    Codec,
    Aggregator,
    Warmer,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LanguageArg {
    Rust,
    Python,
    #[value(name = "javascript")]
    JavaScript,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: KitCommand) -> anyhow::Result<Ended> {
    // Tools, compilers and plugins: nothing of it yields.
    spawn_blocking(move || run_blocking(command)).await.context("the command died")?
}

fn run_blocking(command: KitCommand) -> anyhow::Result<Ended> {
    match command {
        KitCommand::New { kind, name, lang, dir } => {
            let dir = dir.unwrap_or_else(|| PathBuf::from(&name));
            kit::create(kind.into(), lang.into(), &name, &dir)?;
            let shown = dir.display();
            println!("{shown}: build it with `tiergate plugin build {shown}`; the guide is {shown}/wit/README.md");
            Ok(Ended::Done)
        }
        KitCommand::Build { dir } => {
            println!("{}", kit::build(&dir)?.display());
            Ok(Ended::Done)
        }
        KitCommand::Check(args) => {
            let (request, as_json) = args.request()?;
            let report = engine::check(&request)?;
            print(&report, as_json, print_report)?;
            Ok(if report.passed { Ended::Done } else { Ended::Failed })
        }
        KitCommand::Bench(args) => {
            let (request, as_json) = args.request()?;
            print(&engine::bench(&request)?, as_json, print_bench)?;
            Ok(Ended::Done)
        }
    }
}

/// Prints as JSON, or for a person.
fn print<T: serde::Serialize>(
    value: &T,
    as_json: bool,
    for_person: impl FnOnce(&mut dyn Write, &T) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
        return Ok(());
    }
    Ok(for_person(&mut out, value)?)
}

fn print_report(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Report { plugin, version, kind, bytes, seed, .. } = report;
    let name = plugin.as_deref().unwrap_or("unknown plugin");
    let kind = kind.map_or("", PluginKind::name);
    let (version, size) = (version.as_deref().unwrap_or_default(), ByteSize(*bytes));
    writeln!(out, "{}: {name} {version} {kind}, {size}, seed {seed}", report.file.display())?;
    report.checks.iter().try_for_each(|line| print_line(out, line))?;
    writeln!(out, "{}", if report.passed { "passed" } else { "FAILED" })
}

fn print_line(out: &mut dyn Write, line: &CheckLine) -> io::Result<()> {
    let CheckLine { name, promise, passed, inputs, failed, failures } = line;
    let tried = match (inputs, failed) {
        (0, _) => String::new(),
        (1, 0) => " (1 input)".to_owned(),
        (_, 0) => format!(" ({inputs} inputs)"),
        _ => format!(" ({failed} of {inputs} inputs)"),
    };
    writeln!(out, "{}  {name:<20} {promise}{tried}", if *passed { "ok    " } else { "FAILED" })?;
    for failure in failures {
        writeln!(out, "        {}: {}", failure.input, failure.what)?;
        if let Some(repeat) = &failure.repeat {
            writeln!(out, "        repeat: {repeat}")?;
        }
    }
    if *failed > failures.len() {
        writeln!(out, "        and {} more", failed - failures.len())?;
    }
    Ok(())
}

fn print_bench(out: &mut dyn Write, bench: &Bench) -> io::Result<()> {
    writeln!(out, "{}: {}", bench.file.display(), bench.kind.name())?;
    writeln!(
        out,
        "{:<28} {:>10} {:>12} {:>12} {:>12} {:>11} {:>11}  asked",
        "plugin", "component", "cold call", "warm call", "warm p99", "memory", "after"
    )?;
    for Timing { plugin, work, bytes, cold_micros, warm_micros, warm_p99_micros, memory_first, memory_last, .. } in
        &bench.plugins
    {
        let [size, first, last] = [*bytes, *memory_first as u64, *memory_last as u64].map(|n| ByteSize(n).to_string());
        writeln!(
            out,
            "{plugin:<28} {size:>10} {cold_micros:>9.1} us {warm_micros:>9.1} us {warm_p99_micros:>9.1} us {first:>11} \
             {last:>11}  {work}"
        )?;
    }
    Ok(())
}

// === impl ComponentArgs ===

impl ComponentArgs {
    /// What is to be done, and whether it is to be told as JSON.
    fn request(self) -> anyhow::Result<(Request, bool)> {
        if let Some(level) = &self.log {
            let level = format!("off,tiergate::plugin::imports={level}");
            let filter = log::Config { level, ..log::Config::default() }.filter().map_err(anyhow::Error::msg)?;
            log::start(filter, log::Format::Text);
        }
        let request = Request {
            file: self.file,
            kind: self.world.map(PluginKind::from),
            config: self.config,
            seed: self.seed,
            input: self.input,
            save_dir: Path::new(SAVE_DIR).to_owned(),
            // Not that of a gateway: what an author builds must not push out what serves.
            cache_dir: crate::config::default_data_dir().join("kit"),
        };
        Ok((request, self.json))
    }
}

// === impl KindArg ===

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Codec => Self::Codec,
            KindArg::Aggregator => Self::Aggregator,
            KindArg::Warmer => Self::Warmer,
        }
    }
}

impl From<KindArg> for PluginKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Codec => Self::Codec,
            KindArg::Aggregator => Self::Aggregator,
            KindArg::Warmer => Self::Warmer,
        }
    }
}

// === impl LanguageArg ===

impl From<LanguageArg> for Language {
    fn from(language: LanguageArg) -> Self {
        match language {
            LanguageArg::Rust => Self::Rust,
            LanguageArg::Python => Self::Python,
            LanguageArg::JavaScript => Self::JavaScript,
        }
    }
}
