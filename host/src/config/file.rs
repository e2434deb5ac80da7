//! The shape of `tiergate.toml`, and how it is read without stopping at the first mistake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use serde_path_to_error::{Segment, Track};
use toml::{Table, Value};

use super::Mistake;
use crate::cache::{KeyPolicy, Limits, Owner, Policy, TTL_MIN};
use crate::http::{Secret, TlsFiles};
use crate::record::Key;
use crate::telemetry::log;
use crate::tier::breaker::{self, PROBE_EVERY_MAX};
use crate::{doctor, http, market, plugin, source, warm};

/// Wrong values that are set aside before the rest is no longer looked at.
const MISTAKES_MAX: usize = 100;

/// The file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub data_dir: Option<PathBuf>,
    pub tiers: Vec<String>,
    pub ttl: Vec<Ttl>,
    pub cache: Cache,
    pub breaker: Breaker,
    pub recovery: Recovery,
    pub market: Market,
    pub warmer: Warmer,
    pub source: Vec<Source>,
    pub http: Http,
    pub plugins: Plugins,
    pub doctor: Doctor,
    #[serde(deserialize_with = "log_config")]
    pub log: log::Config,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Cache {
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    pub memory_bytes_max: ByteSize,
    #[serde(with = "humantime_serde")]
    pub watch_every: Duration,
    #[serde(with = "humantime_serde")]
    pub verify_every: Duration,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Breaker {
    #[serde(with = "humantime_serde")]
    slow: Duration,
    #[serde(with = "humantime_serde")]
    probe_every: Duration,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Recovery {
    keys_max: usize,
    bytes_max: ByteSize,
}

#[derive(Deserialize)]
pub(super) struct Ttl {
    pattern: String,
    #[serde(default, with = "humantime_serde")]
    memory: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    memcached: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    redis: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    fresh: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    grace: Option<Duration>,
    owners: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Market {
    #[serde(with = "humantime_serde")]
    refresh_every: Duration,
    #[serde(with = "humantime_serde")]
    coalesce: Duration,
    required: Vec<String>,
    share_signals: bool,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Warmer {
    #[serde(with = "humantime_serde")]
    every: Duration,
    actions_max: u32,
    #[serde(with = "humantime_serde")]
    placeholder_ttl: Duration,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Doctor {
    #[serde(with = "humantime_serde")]
    silent_after: Duration,
}

#[derive(Deserialize)]
pub(super) struct Source {
    name: String,
    key: String,
    url: String,
    codec: Option<String>,
    #[serde(with = "humantime_serde")]
    interval: Duration,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    #[serde(default = "source_bytes_max")]
    bytes_max: ByteSize,
    #[serde(default, with = "humantime_serde")]
    ttl: Option<Duration>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Http {
    listen: SocketAddr,
    tls: Option<TlsFiles>,
    unix: Option<PathBuf>,
    admin: SocketAddr,
    hosts: Vec<String>,
    write_token: Option<String>,
    value_bytes_max: ByteSize,
    signal_bytes_max: ByteSize,
    connections_max: usize,
    streams_max: Option<usize>,
    #[serde(with = "humantime_serde")]
    head_deadline: Duration,
    #[serde(with = "humantime_serde")]
    body_pause_max: Duration,
    #[serde(with = "humantime_serde")]
    drain: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Plugins {
    codecs: Option<Vec<Plugin>>,
    aggregator: Option<Plugin>,
    warmer: Option<Plugin>,
    tape: Option<ByteSize>,
    probation: Probation,
    trusted_keys: Vec<String>,
    conformance: Option<bool>,
    watch: Option<PathBuf>,
    limits: KindLimits,
}

#[derive(Deserialize)]
#[serde(default)]
struct Probation {
    #[serde(with = "humantime_serde")]
    lasts: Duration,
    faults_max: u64,
    rejections_max: f64,
    latency_max: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KindLimits {
    codec: PluginLimits,
    aggregator: PluginLimits,
    warmer: PluginLimits,
    compile: CompileLimits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PluginLimits {
    #[serde(with = "humantime_serde")]
    deadline: Option<Duration>,
    memory: Option<ByteSize>,
    table_elements: Option<u32>,
    output: Option<ByteSize>,
    log_lines: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompileLimits {
    #[serde(with = "humantime_serde")]
    deadline: Option<Duration>,
    memory: Option<ByteSize>,
}

#[derive(Deserialize)]
struct Plugin {
    name: Option<String>,
    path: Option<PathBuf>,
    #[serde(default)]
    config: serde_json::Map<String, serde_json::Value>,
}

/// The table in `path`, or why it cannot be read.
pub(super) fn table(path: &Path) -> Result<Table, Mistake> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Mistake::new(name.clone(), format!("cannot be read: {error}")))?;
    text.parse::<Table>().map_err(|error| Mistake::new(name, error.to_string().trim_end().replace('\n', "\n    ")))
}

// === impl File ===

impl File {
    /// Reads `table`. A wrong value is reported and set aside, so that the rest is still looked at.
    pub fn read(mut table: Table, mistakes: &mut Vec<Mistake>) -> Self {
        for _ in 0..MISTAKES_MAX {
            let mut unknown = Vec::new();
            let mut track = Track::new();
            let tracked = serde_path_to_error::Deserializer::new(Value::Table(table.clone()), &mut track);
            let read = serde_ignored::deserialize::<_, _, Self>(tracked, |path| unknown.push(path.to_string()));
            match read {
                Ok(file) => {
                    let known = |path| Mistake::new(path, "is no known key; see the sample in README.md");
                    mistakes.extend(unknown.into_iter().map(known));
                    return file;
                }
                Err(error) => {
                    let path = track.path();
                    mistakes.push(Mistake::new(path.to_string(), error.to_string().trim_end().replace('\n', " ")));
                    let segments: Vec<&Segment> = path.iter().collect();
                    if !remove(&mut Value::Table(std::mem::take(&mut table)), &segments, &mut table) {
                        return Self::default();
                    }
                }
            }
        }
        Self::default()
    }
}

/// Puts `root` without the value at `path` into `rest`; says whether anything was removed.
fn remove(root: &mut Value, path: &[&Segment], rest: &mut Table) -> bool {
    fn below(value: &mut Value, path: &[&Segment]) -> bool {
        match (path, value) {
            ([Segment::Map { key }], Value::Table(table)) => table.remove(key).is_some(),
            ([Segment::Map { key }, path @ ..], Value::Table(table)) => {
                // A mistake deeper than the file's own shape (in an enum, say) is set aside with what holds it.
                table.get_mut(key).is_some_and(|value| below(value, path)) || table.remove(key).is_some()
            }
            ([Segment::Seq { index }], Value::Array(list)) => {
                (*index < list.len()).then(|| list.remove(*index)).is_some()
            }
            ([Segment::Seq { index }, path @ ..], Value::Array(list)) => {
                list.get_mut(*index).is_some_and(|value| below(value, path))
                    || (*index < list.len()).then(|| list.remove(*index)).is_some()
            }
            _ => false,
        }
    }
    let removed = below(root, path);
    if let Value::Table(table) = root {
        *rest = std::mem::take(table);
    }
    removed
}

// === the sections ===

impl Default for Cache {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(250),
            memory_bytes_max: ByteSize::mib(256),
            watch_every: Duration::from_millis(100),
            verify_every: Duration::from_secs(5),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        let breaker::Config { slow, probe_every } = breaker::Config::default();
        Self { slow, probe_every }
    }
}

impl Breaker {
    pub fn check(&self, mistakes: &mut Vec<Mistake>) -> breaker::Config {
        if self.slow.is_zero() {
            mistakes.push(Mistake::new("breaker.slow", "must be more than 0s"));
        }
        if self.probe_every < Duration::from_millis(10) || self.probe_every > PROBE_EVERY_MAX {
            let most = humantime::format_duration(PROBE_EVERY_MAX);
            mistakes.push(Mistake::new("breaker.probe_every", format!("must be from 10ms to {most}")));
        }
        breaker::Config { slow: self.slow, probe_every: self.probe_every }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        let Limits { items_max, bytes_max } = Limits::default();
        Self { keys_max: items_max, bytes_max: ByteSize::b(bytes_max) }
    }
}

impl Recovery {
    pub fn limits(&self) -> Limits {
        Limits { items_max: self.keys_max, bytes_max: self.bytes_max.as_u64() }
    }
}

impl Ttl {
    /// The rule, with what it leaves out from the defaults for its pattern.
    pub fn rule(&self) -> KeyPolicy {
        let mut rule = Policy::default_for(&self.pattern);
        rule.ttl.memory = self.memory.unwrap_or(rule.ttl.memory);
        rule.ttl.memcached = self.memcached.unwrap_or(rule.ttl.memcached);
        rule.ttl.redis = self.redis.unwrap_or(rule.ttl.redis);
        rule.fresh = self.fresh.unwrap_or(rule.fresh);
        rule.grace = self.grace.unwrap_or(rule.grace);
        if let Some(owners) = &self.owners {
            rule.owners = owners.iter().map(|name| Owner::named(name)).collect();
        }
        rule
    }
}

impl Default for Market {
    fn default() -> Self {
        let market::Config { refresh_every, coalesce, required, share_signals } = market::Config::default();
        let required = required.iter().map(ToString::to_string).collect();
        Self { refresh_every, coalesce, required, share_signals }
    }
}

impl Market {
    pub fn check(&self, mistakes: &mut Vec<Mistake>) -> market::Config {
        // A dead producer or a foreign write must be seen within a second.
        for (path, span, least) in
            [("market.refresh_every", self.refresh_every, 10), ("market.coalesce", self.coalesce, 0)]
        {
            if span > Duration::from_secs(1) || span < Duration::from_millis(least) {
                mistakes.push(Mistake::new(path, format!("must be from {least}ms to 1s")));
            }
        }
        let mut required = Vec::with_capacity(self.required.len());
        for (at, key) in self.required.iter().enumerate() {
            match Key::new(key) {
                Ok(key) => required.push(key),
                Err(error) => mistakes.push(Mistake::new(format!("market.required[{at}]"), error)),
            }
        }
        let Self { refresh_every, coalesce, share_signals, .. } = *self;
        market::Config { refresh_every, coalesce, required, share_signals }
    }
}

impl Default for Warmer {
    fn default() -> Self {
        let warm::Config { every, actions_max, placeholder_ttl } = warm::Config::default();
        Self { every, actions_max, placeholder_ttl }
    }
}

impl Warmer {
    pub fn check(&self, mistakes: &mut Vec<Mistake>) -> warm::Config {
        if self.every < Duration::from_millis(100) || self.every > Duration::from_secs(60) {
            mistakes.push(Mistake::new("warmer.every", "must be from 100ms to 60s"));
        }
        if self.actions_max == 0 || self.actions_max > 1_000 {
            mistakes.push(Mistake::new("warmer.actions_max", "must be from 1 to 1000"));
        }
        if self.placeholder_ttl < TTL_MIN || self.placeholder_ttl > Duration::from_secs(300) {
            mistakes.push(Mistake::new("warmer.placeholder_ttl", "must be from 2s to 300s"));
        }
        warm::Config { every: self.every, actions_max: self.actions_max, placeholder_ttl: self.placeholder_ttl }
    }
}

impl Default for Doctor {
    fn default() -> Self {
        let doctor::Config { silent_after } = doctor::Config::default();
        Self { silent_after }
    }
}

impl Doctor {
    pub fn check(&self, mistakes: &mut Vec<Mistake>) -> doctor::Config {
        if self.silent_after < Duration::from_secs(1) || self.silent_after > Duration::from_secs(24 * 3600) {
            mistakes.push(Mistake::new("doctor.silent_after", "must be from 1s to 24h"));
        }
        doctor::Config { silent_after: self.silent_after }
    }
}

/// For a source that names none and whose interval is longer.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);

const fn source_bytes_max() -> ByteSize {
    ByteSize::mib(4)
}

impl Source {
    /// The source number `at`. A header that begins with `$` names the variable of the environment that holds its value.
    pub fn check(self, at: usize, mistakes: &mut Vec<Mistake>) -> Option<source::Config> {
        let mut headers = Vec::new();
        for (name, value) in self.headers {
            match value.strip_prefix('$').map(|variable| (variable, std::env::var(variable))) {
                None => headers.push((name, value.into())),
                Some((_, Ok(value))) => headers.push((name, value.into())),
                Some((variable, Err(_))) => {
                    let message =
                        format!("the environment has no variable `{variable}`; set it, or leave the header out");
                    mistakes.push(Mistake::new(format!("source[{at}].headers.{name}"), message));
                }
            }
        }
        let key = Key::new(&self.key)
            .map_err(|error| mistakes.push(Mistake::new(format!("source[{at}].key"), error)))
            .ok()?;
        Some(source::Config {
            name: self.name,
            key,
            url: self.url.into(),
            codec: self.codec,
            interval: self.interval,
            timeout: self.timeout.unwrap_or(SOURCE_TIMEOUT.min(self.interval)),
            bytes_max: self.bytes_max.as_u64(),
            ttl: self.ttl,
            headers,
        })
    }
}

impl Default for Http {
    fn default() -> Self {
        let http = http::Config::default();
        Self {
            listen: http.listen,
            tls: http.tls,
            unix: http.unix,
            admin: http.admin,
            hosts: http.hosts,
            write_token: None,
            value_bytes_max: ByteSize::b(http.value_bytes_max as u64),
            signal_bytes_max: ByteSize::b(http.signal_bytes_max as u64),
            connections_max: http.connections_max,
            streams_max: None,
            head_deadline: http.head_deadline,
            body_pause_max: http.body_pause_max,
            drain: http.drain,
        }
    }
}

impl Http {
    pub fn check(self, mistakes: &mut Vec<Mistake>) -> http::Config {
        let write_token = self.write_token.and_then(|token| match Secret::new(token) {
            Ok(token) => Some(token),
            Err(error) => {
                mistakes.push(Mistake::new("http.write_token", error));
                None
            }
        });
        if let Some(Err(error)) = self.tls.as_ref().map(TlsFiles::check) {
            mistakes.push(Mistake::new(error.path(), error));
        }
        if self.listen == self.admin && self.listen.port() != 0 {
            mistakes.push(Mistake::new("http.admin", "must not be the same address as http.listen"));
        }
        if self.connections_max == 0 {
            mistakes.push(Mistake::new("http.connections_max", "must be at least 1"));
        }
        for (path, size) in
            [("http.value_bytes_max", self.value_bytes_max), ("http.signal_bytes_max", self.signal_bytes_max)]
        {
            if size < ByteSize::b(1) || size > ByteSize::mib(512) {
                mistakes.push(Mistake::new(path, "must be from 1B to 512MiB"));
            }
        }
        for (path, span) in [("http.head_deadline", self.head_deadline), ("http.body_pause_max", self.body_pause_max)] {
            if span.is_zero() {
                mistakes.push(Mistake::new(path, "must be more than 0s"));
            }
        }
        http::Config {
            listen: self.listen,
            tls: self.tls,
            unix: self.unix,
            admin: self.admin,
            hosts: self.hosts,
            write_token,
            value_bytes_max: self.value_bytes_max.as_u64() as usize,
            signal_bytes_max: self.signal_bytes_max.as_u64() as usize,
            connections_max: self.connections_max,
            // The other half stays for those who only ask.
            streams_max: self.streams_max.unwrap_or(self.connections_max / 2),
            head_deadline: self.head_deadline,
            body_pause_max: self.body_pause_max,
            drain: self.drain,
        }
    }
}

impl Plugins {
    /// The built-in plugins where the file names none.
    pub fn check(self, mistakes: &mut Vec<Mistake>) -> plugin::Config {
        let mut config = plugin::Config { probation: self.probation.check(mistakes), ..plugin::Config::default() };
        if let Some(tape) = self.tape {
            if tape < ByteSize::kib(64) || tape > ByteSize::gib(1) {
                mistakes.push(Mistake::new("plugins.tape", "must be from 64KiB to 1GiB"));
            }
            config.tape = tape;
        }
        self.limits.check(&mut config, mistakes);
        match plugin::TrustedKeys::new(self.trusted_keys.iter().map(String::as_str)) {
            Ok(keys) => config.trusted_keys = keys,
            Err(wrong) => {
                let mistake = |(at, why)| Mistake::new(format!("plugins.trusted_keys[{at}]"), why);
                mistakes.extend(wrong.into_iter().map(mistake));
            }
        }
        if let Some(watch) = self.watch.as_ref().filter(|watch| !watch.is_dir()) {
            mistakes.push(Mistake::new("plugins.watch", format!("there is no directory {}", watch.display())));
        }
        config.watch = self.watch;
        config.conformance = self.conformance.unwrap_or(config.conformance);
        if let Some(codecs) = self.codecs {
            config.codecs = codecs.into_iter().map(|plugin| plugin.into_spec("codec")).collect();
        }
        if let Some(aggregator) = self.aggregator {
            config.aggregator = aggregator.into_spec("aggregator");
        }
        if let Some(warmer) = self.warmer {
            config.warmer = warmer.into_spec("warmer");
        }
        config
    }
}

impl Default for Probation {
    fn default() -> Self {
        let plugin::Probation { lasts, bounds } = plugin::Probation::default();
        let plugin::Bounds { faults_max, rejections_max, latency_max } = bounds;
        Self { lasts, faults_max, rejections_max, latency_max }
    }
}

impl Probation {
    fn check(self, mistakes: &mut Vec<Mistake>) -> plugin::Probation {
        if self.lasts > Duration::from_secs(24 * 3600) {
            mistakes.push(Mistake::new("plugins.probation.lasts", "must be at most 24h; 0s: there is none"));
        }
        if !(0.0..=1.0).contains(&self.rejections_max) {
            mistakes.push(Mistake::new("plugins.probation.rejections_max", "must be from 0 to 1"));
        }
        if self.latency_max.is_nan() || self.latency_max < 1.0 {
            mistakes.push(Mistake::new("plugins.probation.latency_max", "must be at least 1"));
        }
        let Self { lasts, faults_max, rejections_max, latency_max } = self;
        plugin::Probation { lasts, bounds: plugin::Bounds { faults_max, rejections_max, latency_max } }
    }
}

impl KindLimits {
    fn check(self, config: &mut plugin::Config, mistakes: &mut Vec<Mistake>) {
        // Whether there is nothing to tell.
        let mut right = |kind: &str, wrong: Vec<(&'static str, String)>| {
            let is_right = wrong.is_empty();
            let mistake = |(name, must)| Mistake::new(format!("plugins.limits.{kind}.{name}"), must);
            mistakes.extend(wrong.into_iter().map(mistake));
            is_right
        };
        for (kind, limits, into) in [
            ("codec", self.codec, &mut config.codec_limits),
            ("aggregator", self.aggregator, &mut config.aggregator_limits),
            ("warmer", self.warmer, &mut config.warmer_limits),
        ] {
            let limits = limits.over(into);
            if right(kind, limits.mistakes()) {
                *into = limits;
            }
        }
        let default = &config.compile_limits;
        let compile = plugin::CompileLimits {
            deadline: self.compile.deadline.unwrap_or(default.deadline),
            memory: self.compile.memory.unwrap_or(default.memory),
        };
        if right("compile", compile.mistakes()) {
            config.compile_limits = compile;
        }
    }
}

impl PluginLimits {
    /// These limits, and those of `default` where there are none.
    fn over(self, default: &plugin::Limits) -> plugin::Limits {
        plugin::Limits {
            deadline: self.deadline.unwrap_or(default.deadline),
            memory: self.memory.unwrap_or(default.memory),
            table_elements: self.table_elements.unwrap_or(default.table_elements),
            output: self.output.unwrap_or(default.output),
            log_lines: self.log_lines.unwrap_or(default.log_lines),
        }
    }
}

impl Plugin {
    fn into_spec(self, kind: &str) -> plugin::PluginSpec {
        let from_path =
            || self.path.as_ref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
        plugin::PluginSpec {
            name: self.name.clone().or_else(from_path).unwrap_or_else(|| kind.to_owned()),
            path: self.path,
            config: serde_json::Value::Object(self.config),
        }
    }
}

fn log_config<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<log::Config, D::Error> {
    #[derive(Deserialize)]
    #[serde(default)]
    struct Log {
        level: String,
        format: log::Format,
    }
    impl Default for Log {
        fn default() -> Self {
            let log::Config { level, format } = log::Config::default();
            Self { level, format }
        }
    }
    Log::deserialize(deserializer).map(|Log { level, format }| log::Config { level, format })
}
