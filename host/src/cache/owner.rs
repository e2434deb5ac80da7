//! [`Owner`]: whose values outrank those of others.
//!
//! Rank comes between kind and version in the [`Order`](crate::record::Order), while the value is fresh. It is why a second
//! writer of somebody's key is not believed before its owner has fallen silent (B2, B3).

use std::fmt;

use crate::record::Origin;

/// Owners that one rule may name: a rank has one byte.
pub const OWNERS_MAX: usize = u8::MAX as usize;

/// Who owns the keys of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whoever says which schema the payload follows.
    Versioned,
    /// This writer through a gateway: `aggregator`, `api`, `warmer`, `source:` and a source's name.
    Writer(String),
}

/// The word for [`Owner::Versioned`] in the configuration.
const VERSIONED: &str = "versioned";

// === impl Owner ===

impl Owner {
    /// Reads the configuration's word.
    pub fn named(name: &str) -> Self {
        if name == VERSIONED { Self::Versioned } else { Self::Writer(name.to_owned()) }
    }

    fn is(&self, origin: &Origin, is_versioned: bool) -> bool {
        match (self, origin) {
            (Self::Versioned, _) => is_versioned,
            (Self::Writer(name), Origin::Gateway(writer)) => **writer == **name,
            // Whoever put it there gave no name.
            (Self::Writer(_), Origin::Tier(_)) => false,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Versioned => f.write_str(VERSIONED),
            Self::Writer(name) => f.write_str(name),
        }
    }
}

/// The rank of a value: the first of `owners` above the second, and those of nobody among them below all.
pub(super) fn rank(owners: &[Owner], origin: &Origin, is_versioned: bool) -> u8 {
    let place = owners.iter().position(|owner| owner.is(origin, is_versioned));
    place.map_or(0, |place| u8::try_from(owners.len() - place).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TierName;

    fn gateway(writer: &str) -> Origin {
        Origin::Gateway(writer.into())
    }

    fn foreign() -> Origin {
        Origin::Tier(TierName::new("redis"))
    }

    #[test]
    fn b03_owners_rank_in_their_order_and_whoever_is_none_of_them_last() {
        let owners = ["aggregator", "versioned"].map(Owner::named);
        let rank = |origin, is_versioned| rank(&owners, &origin, is_versioned);
        assert_eq!(rank(gateway("aggregator"), true), 2);
        assert_eq!(rank(gateway("aggregator"), false), 2);
        assert_eq!((rank(gateway("api"), true), rank(foreign(), true)), (1, 1));
        assert_eq!((rank(gateway("api"), false), rank(foreign(), false)), (0, 0));
    }

    #[test]
    fn a_writer_is_no_owner_when_somebody_else_put_the_value_into_a_store() {
        assert_eq!(rank(&[Owner::named("aggregator")], &foreign(), true), 0);
        assert_eq!(rank(&[], &gateway("aggregator"), true), 0);
    }
}
