//! [`History`]: the last hour of the few numbers that matter, read from the metrics themselves, so that the two cannot
//! disagree.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::metrics::{AGE, HTTP_REQUESTS, READS, RECOVERY_DEPTH};
use crate::record::Time;

/// How often a sample is taken.
pub const EVERY: Duration = Duration::from_secs(10);

/// Samples that are kept: an hour. The oldest is forgotten.
pub const SAMPLES_MAX: usize = 360;

/// The numbers of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When, in Unix microseconds.
    pub at: Time,
    /// Requests to the data listeners in a second, since the sample before; `None` for the first.
    pub requests_per_second: Option<f64>,
    /// The share of reads of keys that found a value, since the sample before; `None` where nobody read.
    pub hit_ratio: Option<f64>,
    /// The age of the oldest document of the dashboard; `None` where there is none.
    pub oldest_age_seconds: Option<f64>,
    /// Keys of which something waits for a tier.
    pub lane_depth: f64,
}

/// The samples, the oldest first.
#[derive(Default)]
pub struct History {
    samples: VecDeque<Sample>,
    before: Option<Counted>,
}

/// What the counters of the metrics stood at.
#[derive(Clone, Copy)]
struct Counted {
    at: Time,
    requests: f64,
    reads: f64,
    hits: f64,
}

/// The metrics as they are rendered for Prometheus.
#[derive(Clone, Copy)]
pub struct Rendered<'a>(pub &'a str);

// === impl Rendered ===

impl<'a> Rendered<'a> {
    /// Labels and value of every series of a metric.
    pub fn series(self, name: &str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                // A label may hold any character; a number holds no brace.
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.parse().ok()?))
        })
    }

    /// Reads of keys by what answered them: a tier's name, or the outcome where none did.
    pub fn reads(self) -> impl Iterator<Item = (&'a str, f64)> {
        self.series(READS).filter_map(|(labels, value)| {
            let tier = label(labels, "tier")?;
            Some((if tier.is_empty() { label(labels, "outcome")? } else { tier }, value))
        })
    }
}

/// The sum of some series; of none it is 0, which the standard library's is not: it is -0.
fn sum<'a>(series: impl Iterator<Item = (&'a str, f64)>) -> f64 {
    series.fold(0.0, |sum, (_, value)| sum + value)
}

/// The value of one label.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

// === impl History ===

impl History {
    /// Takes a sample, if one is due at `now`; `render` is asked for the metrics only then.
    pub fn sample(&mut self, now: Time, render: impl FnOnce() -> String) {
        if self.last_at().is_some_and(|last| now.since(last) < EVERY) {
            return;
        }
        let rendered = render();
        let rendered = Rendered(&rendered);
        let counted = Counted::of(rendered, now);
        let passed = self.before.map(|before| counted.less(before));
        let sample = Sample {
            at: now,
            requests_per_second: passed.map(|passed| passed.requests / now.since(passed.at).as_secs_f64()),
            hit_ratio: passed.filter(|passed| passed.reads > 0.0).map(|passed| passed.hits / passed.reads),
            oldest_age_seconds: rendered.series(AGE).map(|(_, age)| age).reduce(f64::max),
            lane_depth: sum(rendered.series(RECOVERY_DEPTH)),
        };
        self.before = Some(counted);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// When the last sample was taken.
    pub fn last_at(&self) -> Option<Time> {
        self.samples.back().map(|sample| sample.at)
    }

    /// All of them, the oldest first.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

// === impl Counted ===

impl Counted {
    fn of(rendered: Rendered<'_>, at: Time) -> Self {
        let requests = rendered.series(HTTP_REQUESTS).filter(|(labels, _)| label(labels, "listener") != Some("admin"));
        let is_hit = |what: &str| !["miss", "unavailable"].contains(&what);
        Self {
            at,
            requests: sum(requests),
            reads: sum(rendered.reads()),
            hits: sum(rendered.reads().filter(|(what, _)| is_hit(what))),
        }
    }

    /// What was counted since `before`, and since when.
    fn less(self, before: Self) -> Self {
        Self {
            at: before.at,
            requests: self.requests - before.requests,
            reads: self.reads - before.reads,
            hits: self.hits - before.hits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(requests: u32, hits: u32, misses: u32) -> String {
        format!(
            "# TYPE tiergate_reads_total counter\n\
             tiergate_reads_total{{outcome=\"hit\",tier=\"memory\"}} {hits}\n\
             tiergate_reads_total{{outcome=\"miss\",tier=\"\"}} {misses}\n\
             tiergate_http_requests_total{{listener=\"data\",status=\"200\"}} {requests}\n\
             tiergate_http_requests_total{{listener=\"admin\",status=\"200\"}} 1000\n\
             cache_age_seconds{{key=\"a\"}} 3.5\ncache_age_seconds{{key=\"b}} 9\"}} 7\n\
             tiergate_recovery_depth{{tier=\"redis\"}} 2\ntiergate_recovery_depth{{tier=\"memcached\"}} 3\n"
        )
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn rates_and_ratios_are_those_since_the_sample_before() {
        let mut history = History::default();
        history.sample(at(100), || rendered(500, 10, 10));
        history.sample(at(105), || unreachable!("none is due"));
        history.sample(at(110), || rendered(700, 40, 20));
        history.sample(at(120), || rendered(700, 40, 20));
        let [first, second, third] = history.samples()[..] else { panic!("three samples") };
        assert_eq!((first.requests_per_second, first.hit_ratio), (None, None));
        assert_eq!((second.requests_per_second, second.hit_ratio), (Some(20.0), Some(0.75)));
        assert_eq!((third.requests_per_second, third.hit_ratio), (Some(0.0), None), "nobody read");
        assert_eq!((second.oldest_age_seconds, second.lane_depth), (Some(7.0), 5.0));
    }

    #[test]
    fn an_hour_is_kept_and_one_more_pushes_the_oldest_out() {
        let mut history = History::default();
        (0..SAMPLES_MAX as u64).for_each(|n| history.sample(at(n * 10), String::new));
        assert_eq!((history.samples().len(), history.samples()[0].at), (SAMPLES_MAX, at(0)));
        history.sample(at(10_000), String::new);
        assert_eq!((history.samples().len(), history.samples()[0].at), (SAMPLES_MAX, at(10)));
        assert_eq!(history.samples()[0].oldest_age_seconds, None);
    }

    #[test]
    fn reads_are_told_by_tier_or_by_outcome() {
        let text = rendered(1, 8, 2);
        assert_eq!(Rendered(&text).reads().collect::<Vec<_>>(), [("memory", 8.0), ("miss", 2.0)]);
    }
}
