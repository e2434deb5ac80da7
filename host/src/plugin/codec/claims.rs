//! [`Claims`]: which codec a key belongs to.

use std::sync::Arc;

use crate::record::{KEY_BYTES_MAX, Key};

use crate::plugin::answer;
use crate::plugin::bindings::codec::exports::tiergate::plugin::codec;

/// Patterns that one codec may claim.
const CLAIMS_MAX: usize = 1024;

/// The patterns of all codecs, the best fit first.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

/// A set of keys that a codec is responsible for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Claim {
    /// The key, or what the keys start with.
    literal: String,
    /// Whether the pattern ends in `*`.
    prefix: bool,
    /// Name of the schema.
    pub(super) schema: Arc<str>,
    /// Position of the codec among the codecs.
    pub(super) codec: usize,
}

// === impl Claim ===

impl Claim {
    /// Checks the claims of the codec at position `codec`.
    pub(in crate::plugin) fn check_all(claims: Vec<codec::Claim>, codec: usize) -> Result<Vec<Self>, String> {
        if claims.is_empty() {
            return Err("it claims no keys".to_owned());
        }
        if claims.len() > CLAIMS_MAX {
            return Err(format!("it claims {} patterns; at most {CLAIMS_MAX} are taken", claims.len()));
        }
        claims.into_iter().map(|claim| Self::check(claim, codec)).collect()
    }

    fn check(claim: codec::Claim, codec: usize) -> Result<Self, String> {
        let shown = answer::one_line(&claim.pattern, KEY_BYTES_MAX);
        let (literal, prefix) = match claim.pattern.strip_suffix('*') {
            Some(literal) => (literal, true),
            None => (&*claim.pattern, false),
        };
        // The prefix of every key is empty, which a key cannot be.
        if !(prefix && literal.is_empty()) {
            Key::new(literal).map_err(|error| format!("its claim {shown:?} is not a pattern of keys: {error}"))?;
        }
        if literal.contains('*') {
            return Err(format!("its claim {shown:?} has a `*` before its end"));
        }
        if !answer::is_words(&claim.schema, b'-') {
            return Err(format!("the schema of its claim {shown:?} is not lower-case words joined by `-`"));
        }
        Ok(Self { literal: literal.to_owned(), prefix, schema: claim.schema.into(), codec })
    }

    /// The pattern as the codec wrote it.
    pub(in crate::plugin) fn pattern(&self) -> String {
        format!("{}{}", self.literal, if self.prefix { "*" } else { "" })
    }

    /// Whether `key` is one of its keys.
    pub(in crate::plugin) fn fits(&self, key: &str) -> bool {
        if self.prefix { key.starts_with(&self.literal) } else { key == self.literal }
    }

    /// Whether every key of `other` is one of its keys.
    fn covers(&self, other: &Self) -> bool {
        (self.prefix || !other.prefix) && self.fits(&other.literal)
    }
}

// === impl Claims ===

impl Claims {
    /// Adds the claims of one more codec; answers those that an earlier one has claimed, with its position.
    pub(super) fn add(&mut self, claims: Vec<Claim>) -> Vec<(Claim, usize)> {
        let mut taken = Vec::new();
        for claim in claims {
            match self.0.iter().find(|c| (c.prefix, &c.literal) == (claim.prefix, &claim.literal)) {
                Some(earlier) => taken.push((claim, earlier.codec)),
                None => self.0.push(claim),
            }
        }
        // Longest first, and a key before a prefix that is as long.
        self.0.sort_by_key(|claim| (std::cmp::Reverse(claim.literal.len()), claim.prefix));
        taken
    }

    /// All patterns, as the codecs wrote them.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.0.iter().map(Claim::pattern).collect()
    }

    /// The patterns of which no claim of `others` takes every key.
    pub(super) fn beyond(&self, others: &Self) -> Vec<String> {
        let is_beyond = |claim: &&Claim| !others.0.iter().any(|other| other.covers(claim));
        self.0.iter().filter(is_beyond).map(Claim::pattern).collect()
    }

    /// The claim with the longest literal part that fits `key`.
    pub(super) fn find(&self, key: &Key) -> Option<&Claim> {
        self.0.iter().find(|claim| claim.fits(key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pattern: &str) -> codec::Claim {
        codec::Claim { pattern: pattern.into(), schema: "schema".into(), schema_version: "1.0".into() }
    }

    fn claims(patterns: &[&str], codec: usize) -> Vec<Claim> {
        Claim::check_all(patterns.iter().map(|p| claim(p)).collect(), codec).unwrap()
    }

    #[test]
    fn the_longest_literal_part_wins() {
        let mut all = Claims::default();
        assert!(all.add(claims(&["*", "market:*", "market:BTC*"], 0)).is_empty());
        assert!(all.add(claims(&["market:BTC"], 1)).is_empty());
        for (key, expected) in
            [("other", "*"), ("market:ETH", "market:*"), ("market:BTCUSD", "market:BTC*"), ("market:BTC", "market:BTC")]
        {
            assert_eq!(all.find(&Key::new(key).unwrap()).unwrap().pattern(), expected, "{key}");
        }
    }

    #[test]
    fn a_pattern_can_be_claimed_once() {
        let mut all = Claims::default();
        assert!(all.add(claims(&["a*", "b"], 0)).is_empty());
        let taken = all.add(claims(&["b", "a"], 1));
        assert_eq!(taken.iter().map(|(c, by)| (c.pattern(), *by)).collect::<Vec<_>>(), [("b".to_owned(), 0)]);
    }

    #[test]
    fn a_codec_claims_as_many_patterns_as_it_may_and_not_one_more() {
        let many = |count: usize| (0..count).map(|n| claim(&format!("k{n}"))).collect();
        assert_eq!(Claim::check_all(many(CLAIMS_MAX), 0).map(|claims| claims.len()), Ok(1_024));
        let refused = Claim::check_all(many(CLAIMS_MAX + 1), 0).unwrap_err();
        assert_eq!(refused, "it claims 1025 patterns; at most 1024 are taken");
    }

    #[test]
    fn a_pattern_is_covered_by_itself_and_by_a_prefix_of_it() {
        let all = |patterns: &[&str]| {
            let mut all = Claims::default();
            assert!(all.add(claims(patterns, 0)).is_empty());
            all
        };
        let now = all(&["market:*", "market:BTC*", "market:BTC", "app"]);
        for (afterwards, expected) in [
            (&["*"][..], &[][..]),
            (&["market:*", "app"], &[]),
            (&["market:B*", "a*"], &["market:*"]),
            // A key is not all that begin with it.
            (&["market:BTC", "app:*"], &["market:BTC*", "market:*", "app"]),
        ] {
            assert_eq!(now.beyond(&all(afterwards)), expected, "{afterwards:?}");
        }
    }

    #[test]
    fn patterns_that_fit_no_key_are_refused() {
        for bad in ["", "a b", "a*b", "**", "a\n*"] {
            assert!(Claim::check_all(vec![claim(bad)], 0).is_err(), "{bad:?}");
        }
        assert!(Claim::check_all(vec![], 0).is_err());
    }
}
