//! Configuration: `tiergate.toml` and the environment, read and checked whole.
//!
//! Every mistake is reported at once, with its key path and what to write instead, before anything is bound. Unknown keys
//! are mistakes. Each room owns its settings; this one only composes them.

mod environment;
mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{self, Policy};
use crate::plugin;
use crate::telemetry::log;
use crate::tier::{breaker, disk, memcached, redis};
use crate::{doctor, http, market, source, warm};

/// The longest that a reader may be made to wait for a tier.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Everything that can be set, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the disk tier, the compiled plugins and the admin token live.
    pub data_dir: PathBuf,
    /// The tiers below memory, in the order of the configuration: from the fastest to the slowest.
    pub tiers: Vec<TierConfig>,
    /// See [`cache::Config`].
    pub cache: cache::Config,
    /// See [`market::Config`].
    pub market: market::Config,
    /// See [`warm::Config`].
    pub warm: warm::Config,
    /// The origins that the warmer may fetch from, in the order of the configuration.
    pub sources: Vec<source::Config>,
    /// See [`http::Config`].
    pub http: http::Config,
    /// See [`plugin::Config`].
    pub plugins: plugin::Config,
    /// See [`doctor::Config`].
    pub doctor: doctor::Config,
    /// See [`log::Config`].
    pub log: log::Config,
}

/// One tier below memory.
#[derive(Clone, Debug)]
pub enum TierConfig {
    /// A file of this process.
    Disk(disk::Config),
    /// `memcached://host:port`.
    Memcached(memcached::Config),
    /// `redis://` or `rediss://[user:password@]host:port/database`.
    Redis(redis::Config),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, such as `http.listen` or `tiers[1]`.
    pub path: String,
    /// What, and what to write instead.
    pub message: String,
}

/// Everything that is wrong.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

// === impl Mistakes ===

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|Mistake { path, message }| writeln!(f, "  {path}: {message}"))
    }
}

// === impl Mistake ===

impl Mistake {
    /// A mistake at `path`.
    pub fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string() }
    }
}

// === impl Config ===

impl Config {
    /// Reads `file`, or the defaults where there is none, with the environment over it; and everything that is wrong. In the
    /// place of what is wrong the configuration holds defaults, so that the rest can be checked too. There is none when the
    /// file could not be read at all.
    pub fn read(file: Option<&Path>) -> (Option<Self>, Vec<Mistake>) {
        let (table, mut mistakes) = match file {
            None => (Some(toml::Table::new()), Vec::new()),
            Some(path) => match file::table(path) {
                Ok(table) => (Some(table), Vec::new()),
                Err(mistake) => (None, vec![mistake]),
            },
        };
        let config = table.map(|mut table| {
            environment::overlay(&mut table, std::env::vars(), &mut mistakes);
            let file = file::File::read(table, &mut mistakes);
            Self::check(file, &mut mistakes)
        });
        (config, mistakes)
    }

    /// The same for the demo: recorded data stays in a disk tier of its own, whatever tiers are configured.
    pub fn for_demo(self) -> Self {
        let data_dir = self.data_dir.join("demo");
        let tiers = vec![TierConfig::Disk(disk_at(data_dir.join("cache.redb"), self.cache.deadline))];
        // Where others may reach the listener, the feed needs a token as any producer does.
        let write_token = self.http.write_token.clone().or_else(|| http::Secret::random().ok());
        // A demo needs no certificate. Its data is recorded; an origin of today has no place beside it, nor other gateways.
        let http = http::Config { write_token, tls: None, ..self.http };
        let market = market::Config { share_signals: false, ..self.market };
        Self { data_dir, tiers, sources: Vec::new(), http, market, ..self }
    }

    fn check(file: file::File, mistakes: &mut Vec<Mistake>) -> Self {
        let data_dir = file.data_dir.clone().unwrap_or_else(default_data_dir);
        let breaker = file.breaker.check(mistakes);
        let tiers = tiers(&file.tiers, &data_dir, &file.cache, &breaker, mistakes);
        let policy = policy(&file.ttl, mistakes);
        let http = file.http.check(mistakes);
        if let Err(error) = file.log.filter() {
            mistakes.push(Mistake::new("log.level", format!("{error}; write `info` or `tiergate::tier=debug,info`")));
        }
        let market = file.market.check(mistakes);
        if market.share_signals && !tiers.iter().any(|tier| matches!(tier, TierConfig::Redis(_))) {
            mistakes.push(Mistake::new("market.share_signals", market::MarketError::NoLog));
        }
        let warm = file.warmer.check(mistakes);
        let doctor = file.doctor.check(mistakes);
        let plugins = file.plugins.check(mistakes);
        let sources = sources(file.source, &plugins, mistakes);
        if file.cache.watch_every < Duration::from_millis(10) || file.cache.watch_every > Duration::from_secs(1) {
            mistakes.push(Mistake::new("cache.watch_every", "must be from 10ms to 1s"));
        }
        if file.cache.deadline.is_zero() || file.cache.deadline > DEADLINE_MAX {
            mistakes.push(Mistake::new("cache.deadline", "must be more than 0s and at most 60s"));
        }
        if file.cache.verify_every < Duration::from_secs(1) || file.cache.verify_every > Duration::from_secs(60) {
            mistakes.push(Mistake::new("cache.verify_every", "must be from 1s to 60s"));
        }
        Self {
            data_dir,
            tiers,
            cache: cache::Config {
                policy,
                deadline: file.cache.deadline,
                memory_bytes_max: file.cache.memory_bytes_max.as_u64(),
                recovery: file.recovery.limits(),
                verify_every: file.cache.verify_every,
            },
            market,
            warm,
            sources,
            http,
            plugins,
            doctor,
            log: file.log,
        }
    }
}

/// The embedded disk tier where no tier is configured, else the tiers by their URLs.
fn tiers(
    urls: &[String],
    data_dir: &Path,
    cache: &file::Cache,
    breaker: &breaker::Config,
    mistakes: &mut Vec<Mistake>,
) -> Vec<TierConfig> {
    if urls.is_empty() {
        return vec![TierConfig::Disk(disk_at(data_dir.join("cache.redb"), cache.deadline))];
    }
    let mut tiers = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        match tier(url, cache, breaker.clone()) {
            Ok(TierConfig::Disk(_)) if tiers.iter().any(|tier| matches!(tier, TierConfig::Disk(_))) => {
                mistakes.push(Mistake::new(format!("tiers[{at}]"), "one disk tier is enough; remove the others"));
            }
            Ok(tier) => tiers.push(tier),
            Err(message) => mistakes.push(Mistake::new(format!("tiers[{at}]"), message)),
        }
        if urls[..at].contains(url) {
            mistakes.push(Mistake::new(format!("tiers[{at}]"), "the same tier stands twice"));
        }
    }
    tiers
}

fn tier(text: &str, cache: &file::Cache, breaker: breaker::Config) -> Result<TierConfig, String> {
    const FORMS: &str = "write `memcached://127.0.0.1:11211`, `redis://127.0.0.1:6379/0`, `rediss://...` or `disk:///var/lib/tiergate/cache.redb`";
    let file::Cache { deadline, watch_every, .. } = *cache;
    // The text itself may hold a password and is not repeated.
    let url = url::Url::parse(text).map_err(|error| format!("is no URL ({error}); {FORMS}"))?;
    match url.scheme() {
        "memcached" => {
            let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("names no host; {FORMS}"))?;
            if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
                return Err(format!("a memcached URL holds a host and a port, and nothing more; {FORMS}"));
            }
            let address = format!("{host}:{}", url.port().unwrap_or(11211));
            let config = memcached::Config { deadline, watch_every, breaker, ..memcached::Config::at(address) };
            Ok(TierConfig::Memcached(config))
        }
        "redis" | "rediss" => {
            let database = url.path().trim_start_matches('/');
            if url.host_str().is_none_or(str::is_empty) || !database.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("a Redis URL holds a host and the number of a database; {FORMS}"));
            }
            Ok(TierConfig::Redis(redis::Config { deadline, breaker, ..redis::Config::at(text) }))
        }
        "disk" => {
            let path = PathBuf::from(url.path());
            if url.host_str().is_some_and(|host| !host.is_empty()) || !path.is_absolute() || path.file_name().is_none()
            {
                return Err(format!("a disk URL holds an absolute path, after three slashes; {FORMS}"));
            }
            Ok(TierConfig::Disk(disk_at(path, deadline)))
        }
        other => Err(format!("unknown kind of tier `{other}`; {FORMS}")),
    }
}

/// The disk tier: its calls have the one deadline of a request, as those of every tier have.
fn disk_at(path: PathBuf, deadline: Duration) -> disk::Config {
    disk::Config { deadline, ..disk::Config::at(path) }
}

/// The sources without a mistake of their own; with others beside them they are not run, so their places may differ.
fn sources(sources: Vec<file::Source>, plugins: &plugin::Config, mistakes: &mut Vec<Mistake>) -> Vec<source::Config> {
    let before = mistakes.len();
    let read: Vec<_> = sources.into_iter().enumerate().filter_map(|(at, source)| source.check(at, mistakes)).collect();
    if mistakes.len() == before {
        let wrong = source::check(&read).into_iter();
        mistakes
            .extend(wrong.map(|wrong| Mistake::new(format!("source[{}].{}", wrong.index, wrong.field), wrong.message)));
    }
    for (at, source) in read.iter().enumerate() {
        let codec = source.codec.as_deref().filter(|codec| plugins.codecs.iter().all(|known| known.name != *codec));
        if let Some(codec) = codec {
            let known: Vec<_> = plugins.codecs.iter().map(|codec| codec.name.as_str()).collect();
            let message = format!("there is no codec `{codec}`; there are: {}", known.join(", "));
            mistakes.push(Mistake::new(format!("source[{at}].codec"), message));
        }
    }
    read
}

fn policy(rules: &[file::Ttl], mistakes: &mut Vec<Mistake>) -> Policy {
    Policy::with(rules.iter().map(file::Ttl::rule).collect()).unwrap_or_else(|wrong| {
        mistakes.extend(wrong.into_iter().map(|(at, error)| Mistake::new(format!("ttl[{at}]"), error)));
        Policy::default()
    })
}

/// `$XDG_STATE_HOME/tiergate`, by default `~/.local/state/tiergate` (XDG base directory specification).
pub fn default_data_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("tiergate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiergate.toml");
        std::fs::write(&path, text).unwrap();
        match Config::read(Some(&path)) {
            (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
            (_, mistakes) => Err(mistakes.into_iter().map(|m| format!("{}: {}", m.path, m.message)).collect()),
        }
    }

    #[test]
    fn an_empty_file_is_a_configuration_with_the_embedded_disk_tier() {
        let config = read("").unwrap();
        assert!(matches!(config.tiers[..], [TierConfig::Disk(_)]));
    }

    #[test]
    fn the_calls_of_every_tier_have_the_one_deadline_of_a_request() {
        let deadlines = |config: &Config| -> Vec<Duration> {
            let deadline = |tier: &TierConfig| match tier {
                TierConfig::Disk(disk::Config { deadline, .. })
                | TierConfig::Memcached(memcached::Config { deadline, .. })
                | TierConfig::Redis(redis::Config { deadline, .. }) => *deadline,
            };
            config.tiers.iter().map(deadline).collect()
        };
        let every = "tiers = [\"memcached://127.0.0.1:11211\", \"redis://127.0.0.1:6379/0\", \"disk:///cache.redb\"]";
        for (tiers, count) in [(every, 3), ("", 1)] {
            let config = read(&format!("{tiers}\n[cache]\ndeadline = \"777ms\"")).unwrap();
            let deadline = Duration::from_millis(777);
            assert_eq!((config.cache.deadline, deadlines(&config)), (deadline, vec![deadline; count]));
            assert_eq!(deadlines(&config.for_demo()), [deadline]);
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_path() {
        let mistakes = read(
            r#"
            colour = "blue"
            tiers = ["memcached://127.0.0.1:11211", "postgres://x", "nonsense"]
            [http]
            listen = "nowhere"
            hsots = []
            body_pause_max = "soon"
            [cache]
            memory_bytes_max = "many"
            [market]
            refresh_every = "5s"
            "#,
        )
        .unwrap_err();
        for path in [
            "colour:",
            "tiers[1]:",
            "tiers[2]:",
            "http.listen:",
            "http.hsots:",
            "http.body_pause_max:",
            "cache.memory_bytes_max:",
            "market.refresh_every:",
        ] {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(path)), "{path} is not in {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), 8, "{mistakes:#?}");
    }

    #[test]
    fn a_limit_of_plugins_can_be_moved_and_not_turned_off() {
        let config = read(
            "[plugins.limits.codec]\ndeadline = \"20ms\"\ntable_elements = 9\n[plugins.limits.compile]\ndeadline = \"5s\"",
        )
        .unwrap();
        let codec = plugin::Limits { deadline: Duration::from_millis(20), table_elements: 9, ..plugin::Limits::CODEC };
        assert_eq!(config.plugins.codec_limits, codec);
        assert_eq!(config.plugins.aggregator_limits, plugin::Limits::AGGREGATOR);
        assert_eq!(config.plugins.compile_limits.deadline, Duration::from_secs(5));
        let mistakes = read(
            r#"
            [plugins]
            trusted_keys = ["RWnonsense"]
            watch = "/nowhere/at/all"
            [plugins.limits]
            codec = { deadline = "0s", memory = "0B" }
            aggregator = { table_elements = 0 }
            warmer = { output = "0B", log_lines = 0 }
            compile = { deadline = "0s", memory = "0B" }
            "#,
        )
        .unwrap_err();
        for path in [
            "trusted_keys[0]",
            "watch",
            "limits.codec.deadline",
            "limits.codec.memory",
            "limits.aggregator.table_elements",
            "limits.warmer.output",
            "limits.warmer.log_lines",
            "limits.compile.deadline",
            "limits.compile.memory",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(&format!("plugins.{path}:"))),
                "{path}: {mistakes:#?}"
            );
        }
        assert_eq!(mistakes.len(), 9, "{mistakes:#?}");
    }

    #[test]
    fn b01_the_address_is_taken_as_written() {
        let config = read(r#"tiers = ["memcached://127.0.0.1:11222"]"#).unwrap();
        let [TierConfig::Memcached(memcached)] = &config.tiers[..] else { panic!("{:?}", config.tiers) };
        assert_eq!(memcached.address, "127.0.0.1:11222");
    }

    #[test]
    fn a_password_in_a_wrong_url_is_not_repeated() {
        let mistakes = read(r#"tiers = ["redsi://user:hunter2@host/0"]"#).unwrap_err();
        assert!(!mistakes[0].contains("hunter2"), "{mistakes:?}");
    }
}
