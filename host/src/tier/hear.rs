//! [`Hear`]: whom a tier tells of changes that others make.
//!
//! What a tier tells is a hint and never a value: whoever hears it looks below, and the order of what is found there decides.
//! So it does no harm that a hint comes twice, late, or for nothing.

use std::sync::Arc;

use super::Stamp;
use crate::record::{DeleteOutcome, Digest, Key, TierName, Version};

/// What a gateway tells of a value that it wrote, or was to write when it had already been deleted.
pub struct Announced {
    /// The gateway's name, see [`canary::gateway`](super::canary::gateway).
    pub gateway: String,
    /// Of the bytes as they are stored, in whatever tier.
    pub stored: Digest,
    /// How many they are.
    pub bytes_len: usize,
    /// Of the canonical bytes.
    pub canonical: Digest,
    /// What it noted beside the value.
    pub stamp: Stamp,
    /// Whether the tier took it. If not, a delete kept it out; another tier may have it all the same.
    pub is_stored: bool,
}

/// Hears of changes. None of these waits.
pub trait Hear: Send + Sync + 'static {
    /// Another gateway wrote a value of `key` to `tier`, or was to.
    fn noted(&self, tier: &TierName, key: &Key, announced: &Announced);

    /// `key` may have changed in `tier`.
    fn changed(&self, tier: &TierName, key: Key);

    /// The gateway of this name deleted every value of `key` up to this version, and `tier` answered it this.
    fn deleted(&self, tier: &TierName, key: Key, floor: Version, gateway: &str, outcome: DeleteOutcome);

    /// The gateway of this name tells, in the gateways' own words, of a write of `key` that lost. Nothing has changed.
    fn lost(&self, tier: &TierName, key: &Key, gateway: &str, loss: &str);

    /// The gateway of this name and version lives.
    fn beats(&self, gateway: &str, version: &str);

    /// From now on, or for a while before, `tier` does not tell of every change.
    fn interrupted(&self, tier: &TierName, why: String);

    /// From now on `tier` tells of every change. What it did not tell before is not made up for.
    fn resumed(&self, tier: &TierName);

    /// The keys of which a tier that cannot tell of all should tell at least.
    fn watched(&self) -> Arc<[Key]>;

    /// The keys, and prefixes that end in `*`, of which a tier should tell; and a number that changes with them.
    fn claimed(&self) -> (u64, Vec<String>);
}
