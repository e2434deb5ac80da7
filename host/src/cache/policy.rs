//! [`Policy`]: how long values of a key live, per key pattern and tier.

use std::time::Duration;

use super::owner::{OWNERS_MAX, Owner};
use crate::record::Key;

/// Times to live for a value whose writer asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierTtls {
    /// How long memory answers without asking the shared tiers. It bounds memory whatever TTL a writer asks for (B25).
    pub memory: Duration,
    /// In memcached.
    pub memcached: Duration,
    /// In Redis, and in the embedded disk tier that stands in for it.
    pub redis: Duration,
}

/// What holds for the keys of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// A key, or a prefix that ends in `*`.
    pub pattern: String,
    /// See [`TierTtls`].
    pub ttl: TierTtls,
    /// The age of the data beyond which it is stale, however long its writer lets it live.
    pub fresh: Duration,
    /// How long memory and disk keep a value past its life, to be served stale.
    pub grace: Duration,
    /// Whose values outrank those of others while they are fresh, the first of them most.
    pub owners: Vec<Owner>,
}

/// All patterns; the longest literal part wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sorted by falling length of the pattern; the last one is `*`.
    rules: Vec<KeyPolicy>,
}

/// Why a rule is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `*` stands elsewhere than at the end, or the rest is not a key.
    #[error("`{0}` is not a key or a prefix of keys that ends in `*`")]
    Pattern(String),
    /// The same pattern twice.
    #[error("the pattern `{0}` stands twice")]
    Twice(String),
    /// More owners than a rank can tell apart.
    #[error("`{0}`: at most {OWNERS_MAX} owners can be told apart")]
    TooManyOwners(String),
    /// Shared tiers keep whole seconds, and a second may end at once.
    #[error("`{pattern}`: {field} must be at least 2s")]
    TooShort {
        /// The rule.
        pattern: String,
        /// Its field.
        field: &'static str,
    },
}

const fn seconds(memory: u64, memcached: u64, redis: u64) -> TierTtls {
    TierTtls {
        memory: Duration::from_secs(memory),
        memcached: Duration::from_secs(memcached),
        redis: Duration::from_secs(redis),
    }
}

/// The shortest TTL that a shared tier is given: memcached may end a TTL of 1 s at once.
pub const TTL_MIN: Duration = Duration::from_secs(2);

/// The default grace: values of yesterday are shown with their age, older ones are not shown.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// The age beyond which the producers' documents count as old: the TTL that they themselves give them.
const FRESH: Duration = Duration::from_secs(300);

/// The producers' own table: tier defaults by key, with 2 s in memory for every prefix that several processes write.
const DEFAULTS: &[(&str, TierTtls, Duration)] = &[
    ("market:overview", seconds(2, 30, 120), FRESH),
    ("market:movers", seconds(2, 45, 180), FRESH),
    ("dashboard:data", seconds(2, 45, 180), FRESH),
    ("analysis:signals", seconds(2, 60, 300), FRESH),
    ("confluence:scores", seconds(2, 90, 600), Duration::from_secs(600)),
    ("confluence:*", seconds(2, 60, 300), Duration::from_secs(900)),
    ("coingecko:*", seconds(30, 60, 300), Duration::from_secs(900)),
    ("analysis:*", seconds(2, 60, 300), FRESH),
    ("market:*", seconds(2, 60, 300), FRESH),
    ("dashboard:*", seconds(2, 60, 300), Duration::from_secs(600)),
    ("system:*", seconds(2, 60, 300), FRESH),
    ("unified:*", seconds(2, 60, 300), FRESH),
    ("virtuoso:*", seconds(2, 60, 300), FRESH),
    ("*", seconds(30, 60, 300), Duration::from_secs(3600)),
];

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        let rules = DEFAULTS
            .iter()
            .map(|&(pattern, ttl, fresh)| KeyPolicy {
                pattern: pattern.to_owned(),
                ttl,
                fresh,
                grace: GRACE,
                owners: vec![Owner::Versioned],
            })
            .collect();
        Self::sorted(rules)
    }
}

impl Policy {
    /// The defaults with `rules` in place of, or beside, those of the same pattern.
    ///
    /// # Errors
    ///
    /// Every mistake, with the place of its rule.
    pub fn with(rules: Vec<KeyPolicy>) -> Result<Self, Vec<(usize, PolicyError)>> {
        let mut mistakes = Vec::new();
        for (i, rule) in rules.iter().enumerate() {
            let literal = rule.pattern.strip_suffix('*').unwrap_or(&rule.pattern);
            if literal.contains('*') || (rule.pattern != "*" && Key::new(literal).is_err()) {
                mistakes.push((i, PolicyError::Pattern(rule.pattern.clone())));
            }
            if rules[..i].iter().any(|earlier| earlier.pattern == rule.pattern) {
                mistakes.push((i, PolicyError::Twice(rule.pattern.clone())));
            }
            if rule.owners.len() > OWNERS_MAX {
                mistakes.push((i, PolicyError::TooManyOwners(rule.pattern.clone())));
            }
            for (field, ttl) in [("memcached", rule.ttl.memcached), ("redis", rule.ttl.redis)] {
                if ttl < TTL_MIN {
                    mistakes.push((i, PolicyError::TooShort { pattern: rule.pattern.clone(), field }));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut all = Self::default().rules;
        all.retain(|default| rules.iter().all(|rule| rule.pattern != default.pattern));
        all.extend(rules);
        Ok(Self::sorted(all))
    }

    /// The rule for `key`.
    pub fn of(&self, key: &Key) -> &KeyPolicy {
        self.rules
            .iter()
            .find(|rule| rule.matches(key.as_str()))
            .expect("the last rule is `*`, which matches every key")
    }

    /// The default rule for `pattern`: what a configured rule that leaves fields out falls back on.
    pub fn default_for(pattern: &str) -> KeyPolicy {
        let probe = pattern.strip_suffix('*').unwrap_or(pattern);
        Self::default()
            .rules
            .into_iter()
            .find(|rule| rule.matches(probe))
            .map(|rule| KeyPolicy { pattern: pattern.to_owned(), ..rule })
            .expect("the last rule is `*`, which matches every key")
    }

    fn sorted(mut rules: Vec<KeyPolicy>) -> Self {
        // A literal key beats a prefix of the same length.
        rules.sort_by_key(|rule| {
            let literal = rule.pattern.trim_end_matches('*').len();
            std::cmp::Reverse((literal, !rule.pattern.ends_with('*')))
        });
        Self { rules }
    }
}

// === impl KeyPolicy ===

impl KeyPolicy {
    fn matches(&self, key: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == self.pattern,
        }
    }
}

// === impl TierTtls ===

impl TierTtls {
    /// The TTL for a tier of this name: `memcached`, `redis`, `disk`, with or without a number.
    pub fn of(&self, tier: &crate::record::TierName) -> Duration {
        if tier.as_str().starts_with("memcached") { self.memcached } else { self.redis }
    }

    /// The longest of the tiers below memory.
    pub fn longest(&self) -> Duration {
        self.memcached.max(self.redis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn the_longest_literal_part_wins() {
        let policy = Policy::default();
        assert_eq!(policy.of(&key("market:overview")).ttl, seconds(2, 30, 120));
        assert_eq!(policy.of(&key("market:breadth")).ttl, seconds(2, 60, 300));
        assert_eq!(policy.of(&key("anything")).ttl, seconds(30, 60, 300));
    }

    #[test]
    fn a_configured_rule_replaces_the_default_of_its_pattern_and_leaves_the_others() {
        let mine = KeyPolicy { fresh: Duration::from_secs(7), ..Policy::default_for("market:overview") };
        let policy = Policy::with(vec![mine]).unwrap();
        assert_eq!(policy.of(&key("market:overview")).fresh, Duration::from_secs(7));
        assert_eq!(policy.of(&key("market:movers")).ttl.redis, Duration::from_secs(180));
    }

    #[test]
    fn as_many_owners_as_ranks_can_be_told_apart_and_one_more_is_a_mistake() {
        for (count, is_good) in [(OWNERS_MAX, true), (OWNERS_MAX + 1, false)] {
            let owners = (0..count).map(|n| Owner::named(&format!("w{n}"))).collect();
            let rule = KeyPolicy { owners, ..Policy::default_for("a:*") };
            assert_eq!(Policy::with(vec![rule]).is_ok(), is_good, "{count}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let short = KeyPolicy { ttl: seconds(0, 1, 2), ..Policy::default_for("a:*") };
        let wild = KeyPolicy { pattern: "a*b".to_owned(), ..Policy::default_for("a:*") };
        let mistakes = Policy::with(vec![short.clone(), short, wild]).unwrap_err();
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    }
}
