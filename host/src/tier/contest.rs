//! Who wins when a tier that holds a value is offered another.
//!
//! The rule is one for every tier. Redis has it a second time, in `redis/put.lua`, because there it must run inside the
//! server; the conformance tests hold the two together.

use bytes::Bytes;

use crate::record::{Kind, Order, Record, RejectedWhy, Time, WriteOutcome};

/// What becomes of the value that is offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contest {
    /// It replaces the one that is held.
    Wins,
    /// It is the one that is held.
    Equal,
    /// The one that is held stays; this is the writer's answer.
    Loses(WriteOutcome),
}

/// Compares the order of an offered value with that of the value held. A value past its hard limit (no kind) loses to any.
pub(super) fn contest(offered: &Order, held: &Order) -> Contest {
    match held.kind {
        None => Contest::Wins,
        Some(kind) if offered.kind < Some(kind) => Contest::Loses(WriteOutcome::Refused(kind)),
        Some(_) if offered.kind > held.kind => Contest::Wins,
        Some(_) if (offered.version, offered.digest) == (held.version, held.digest) => Contest::Equal,
        Some(_) if offered < held => Contest::Loses(WriteOutcome::Superseded),
        Some(_) => Contest::Wins,
    }
}

/// The bytes of `record` for a tier that others read, or why such a tier never takes it.
pub(super) fn shared_wire(record: &Record, now: Time) -> Result<&Bytes, WriteOutcome> {
    if record.kind == Kind::Negative {
        return Err(WriteOutcome::Rejected(RejectedWhy::Negative));
    }
    if !record.is_live(now) || record.remaining(now).is_zero() {
        return Err(WriteOutcome::Rejected(RejectedWhy::Ended));
    }
    record.wire().ok_or(WriteOutcome::Rejected(RejectedWhy::Repaired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Digest, Version};

    fn order(kind: Option<Kind>, rank: u8, version: u64, bytes: &str) -> Order {
        Order { kind, rank, version: Version(version), digest: Digest::of(bytes.as_bytes()) }
    }

    #[test]
    fn kind_comes_before_rank_and_rank_before_version() {
        let real = order(Some(Kind::Real), 0, 1, "real");
        let placeholder = order(Some(Kind::Placeholder), 9, 9, "placeholder");
        assert_eq!(contest(&placeholder, &real), Contest::Loses(WriteOutcome::Refused(Kind::Real)));
        assert_eq!(contest(&real, &placeholder), Contest::Wins);
        let ranked = order(Some(Kind::Real), 2, 1, "ranked");
        assert_eq!(contest(&order(Some(Kind::Real), 1, 9, "newer"), &ranked), Contest::Loses(WriteOutcome::Superseded));
    }

    #[test]
    fn the_same_version_and_bytes_are_equal_whatever_their_rank() {
        let held = order(Some(Kind::Real), 0, 7, "same");
        assert_eq!(contest(&order(Some(Kind::Real), 3, 7, "same"), &held), Contest::Equal);
        assert_eq!(contest(&held, &order(Some(Kind::Real), 3, 7, "same")), Contest::Equal);
    }

    #[test]
    fn anything_beats_a_value_past_its_hard_limit() {
        let ended = order(None, 9, 9, "ended");
        assert_eq!(contest(&order(Some(Kind::Placeholder), 0, 0, "new"), &ended), Contest::Wins);
    }
}
