//! Which schema a key has.

use crate::answer::{Claim, Kind, Rejection};
use crate::mend::Mender;
use crate::moment;
use crate::schemas::{
    alerts, breadth, coingecko, confluence, dominance, movers, overview, plain, regime, signals, tickers,
};
use crate::tree::Json;

/// The schema version that canonical payloads follow.
const VERSION: &str = "1.0";

/// Which payloads that are not JSON stand for a value (B14).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// None.
    Nothing,
    /// A word or a few, such as `BULLISH`.
    Words,
    /// A number that Python prints and JSON does not know, such as `57.`.
    Number,
}

/// Brings a document to its canonical form, or refuses it.
pub(crate) type Read = for<'a> fn(Json<'a>, &mut Mender) -> Result<(Json<'a>, Kind), Rejection>;

/// How the payloads of a set of keys are read.
pub(crate) struct Schema {
    pattern: &'static str,
    name: &'static str,
    pub(crate) bare: Bare,
    /// Whether any string is a value of these keys, even one that looks like broken JSON.
    pub(crate) any_text: bool,
    pub(crate) read: Read,
    /// The document's own time, in Unix microseconds.
    pub(crate) moment: fn(&Json<'_>) -> Option<u64>,
}

impl Schema {
    const fn of_object(pattern: &'static str, name: &'static str, read: Read) -> Self {
        Self { pattern, name, bare: Bare::Nothing, any_text: false, read, moment: moment::of_document }
    }

    const fn or_bare(self, bare: Bare) -> Self {
        Self { bare, ..self }
    }
}

const SCHEMAS: [Schema; 12] = [
    Schema::of_object("analysis:signals", "analysis-signals", signals::read),
    Schema::of_object("analysis:market_regime", "market-regime", regime::read).or_bare(Bare::Words),
    Schema::of_object("market:overview", "market-overview", overview::read),
    Schema::of_object("market:movers", "market-movers", movers::read),
    Schema::of_object("market:breadth", "market-breadth", breadth::read),
    Schema::of_object("market:tickers", "market-tickers", tickers::read),
    Schema::of_object("market:btc_dominance", "btc-dominance", dominance::read).or_bare(Bare::Number),
    Schema::of_object("confluence:breakdown:*", "confluence-breakdown", confluence::read_breakdown),
    Schema::of_object("confluence:score:*", "confluence-score", confluence::read_score).or_bare(Bare::Number),
    Schema::of_object("coingecko:*", "coingecko", coingecko::read),
    Schema { moment: alerts::newest, ..Schema::of_object("dashboard:alerts", "dashboard-alerts", alerts::read) },
    ANYTHING,
];

const ANYTHING: Schema = Schema { any_text: true, ..Schema::of_object("*", "json", plain::read) };

/// The keys of this codec.
pub fn claims() -> Vec<Claim> {
    let claim = |schema: &Schema| Claim { pattern: schema.pattern, schema: schema.name, schema_version: VERSION };
    SCHEMAS.iter().map(claim).collect()
}

/// The schema of a key: of the patterns that match, the one with the longest literal part.
pub(crate) fn of(key: &str) -> &'static Schema {
    static ALL: [Schema; 12] = SCHEMAS;
    static REST: Schema = ANYTHING;
    let matches = |schema: &&Schema| match schema.pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == schema.pattern,
    };
    ALL.iter().filter(matches).max_by_key(|schema| schema.pattern.len()).unwrap_or(&REST)
}

#[cfg(test)]
mod tests {
    use super::{claims, of};

    #[test]
    fn the_longest_literal_part_wins() {
        assert_eq!(of("market:overview").name, "market-overview");
        assert_eq!(of("market:overview2").name, "json");
        assert_eq!(of("confluence:score:BTCUSDT").name, "confluence-score");
        assert_eq!(of("confluence:summary").name, "json");
    }

    #[test]
    fn every_pattern_is_claimed_once() {
        let mut patterns: Vec<_> = claims().iter().map(|claim| claim.pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        assert_eq!(patterns.len(), claims().len());
        assert!(patterns.contains(&"*"));
    }
}
