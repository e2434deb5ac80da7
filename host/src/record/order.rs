//! [`Order`]: which of two values of a key is greater.

use std::fmt;
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use super::{Record, Time};

/// What a value is worth. `Real` is greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A stand-in that a warmer wrote so that readers find something.
    Placeholder,
    /// A remembered "there is none". Lives in memory only.
    Negative,
    /// Data.
    Real,
}

/// When a value was made, in Unix microseconds: the payload's own timestamp, or the moment at which a gateway first saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// SHA-1 of a value's bytes. It breaks ties alike in every tier and gateway; it is no protection against forgery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 20]);

/// The place of a value among all values of its key at one moment: live kind, then owner rank (while the higher-ranked
/// owner is fresh), then version, then digest.
///
/// Kind comes before version: a placeholder stamped now must not beat real data of two seconds ago (incident B5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// `None` for a value past its hard limit, which any other value beats.
    pub kind: Option<Kind>,
    /// The rank of the owner, or 0 once its value is no longer fresh.
    pub rank: u8,
    /// See [`Version`].
    pub version: Version,
    /// Of the canonical bytes.
    pub digest: Digest,
}

impl Kind {
    /// The name in metrics, headers and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placeholder => "placeholder",
            Self::Negative => "negative",
            Self::Real => "real",
        }
    }

    /// One digit that sorts as the kinds do, for tiers that compare texts.
    pub const fn digit(self) -> u8 {
        match self {
            Self::Placeholder => 1,
            Self::Negative => 2,
            Self::Real => 3,
        }
    }

    /// The kind of a [`digit`](Self::digit).
    pub const fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            1 => Some(Self::Placeholder),
            2 => Some(Self::Negative),
            3 => Some(Self::Real),
            _ => None,
        }
    }
}

impl Version {
    /// How far ahead of this clock a payload's own timestamp may lie and still be believed.
    pub const AHEAD_MAX: Duration = Duration::from_secs(1);

    /// 16 hexadecimal digits: texts of this form sort as the numbers do, which Lua's doubles do not above 2^53.
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Reads what [`hex`](Self::hex) wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha1::digest(bytes).into())
    }

    /// 40 hexadecimal digits, as Redis' `redis.sha1hex` writes them.
    pub fn hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(40), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
    }

    /// Reads what [`hex`](Self::hex) wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        let mut out = [0; 20];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(out))
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// A digest from its 20 bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.hex()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(&text).ok_or("a digest has 40 hexadecimal digits")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl Order {
    /// The order of `record` at `now`.
    pub fn of(record: &Record, now: Time) -> Self {
        Self {
            kind: (now < record.hard_expiry).then_some(record.kind),
            rank: if now < record.soft_expiry { record.rank } else { 0 },
            version: record.version,
            digest: record.digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn any_order() -> impl Strategy<Value = Order> {
        let kind =
            prop_oneof![Just(None), Just(Some(Kind::Placeholder)), Just(Some(Kind::Negative)), Just(Some(Kind::Real))];
        // Few values of each, so that ties are common.
        (kind, 0..3_u8, 0..4_u64, 0..3_u8).prop_map(|(kind, rank, version, bytes)| Order {
            kind,
            rank,
            version: Version(version),
            digest: Digest::of(&[bytes]),
        })
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_of_any_two_values_all_choose_the_same(a in any_order(), b in any_order(), c in any_order()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            // Whatever the order of arrival, the same one is left.
            prop_assert_eq!(a.max(b).max(c), c.max(a).max(b));
        }

        #[test]
        fn kind_decides_before_rank_rank_before_version_and_version_before_bytes(a in any_order(), b in any_order()) {
            let first = a.kind.cmp(&b.kind).then(a.rank.cmp(&b.rank)).then(a.version.cmp(&b.version));
            prop_assert_eq!(a.cmp(&b), first.then(a.digest.cmp(&b.digest)));
        }

        #[test]
        fn texts_sort_as_the_numbers_and_digests_do(a: u64, b: u64) {
            prop_assert_eq!(Version(a).hex().cmp(&Version(b).hex()), a.cmp(&b));
            prop_assert_eq!(Version::from_hex(&Version(a).hex()), Some(Version(a)));
            let (x, y) = (Digest::of(&a.to_be_bytes()), Digest::of(&b.to_be_bytes()));
            prop_assert_eq!(x.hex().cmp(&y.hex()), x.cmp(&y));
            prop_assert_eq!(Digest::from_hex(&x.hex()), Some(x));
        }
    }
}
