//! One row: a record as bytes.
//!
//! ```text
//! format (1 byte) | SHA-1 of the rest (20) | length of the notes (4, little-endian) | notes (JSON) | value | foreign form
//! ```
//!
//! A row that is cut short, changed or of another format is told from a good one, and never becomes a record.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::{Digest, Kind, Origin, Record, Repair, TierName, Time, Version};

/// Rises with every change of the layout. Rows of another format are dropped: a cache can be filled again.
const FORMAT: u8 = 1;

/// Bytes before the notes.
const HEAD_BYTES: usize = 1 + 20 + 4;

/// Why a row is no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    #[error("the row has format {0}; this version reads format {FORMAT}")]
    Format(u8),
    #[error("the row is damaged: {0}")]
    Damaged(&'static str),
}

/// Everything about a record but its bytes.
#[derive(Serialize, Deserialize)]
struct Notes {
    kind: Kind,
    version: Version,
    rank: u8,
    schema: String,
    produced_at: Time,
    soft_expiry: Time,
    lifetime_end: Time,
    hard_expiry: Time,
    origin: NotedOrigin,
    repairs: Vec<Repair>,
    value_bytes: usize,
    has_foreign: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NotedOrigin {
    Gateway(String),
    Tier(String),
}

/// Writes `record` as a row.
pub(super) fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let notes = serde_json::to_vec(&Notes {
        kind: record.kind,
        version: record.version,
        rank: record.rank,
        schema: record.schema.to_string(),
        produced_at: record.produced_at,
        soft_expiry: record.soft_expiry,
        lifetime_end: record.lifetime_end,
        hard_expiry: record.hard_expiry,
        origin: match &record.origin {
            Origin::Gateway(writer) => NotedOrigin::Gateway(writer.to_string()),
            Origin::Tier(tier) => NotedOrigin::Tier(tier.as_str().to_owned()),
        },
        repairs: record.repairs.to_vec(),
        value_bytes: record.bytes.len(),
        has_foreign: record.foreign.is_some(),
    })?;
    let foreign: &[u8] = record.foreign.as_deref().unwrap_or_default();
    let mut row = Vec::with_capacity(HEAD_BYTES + notes.len() + record.bytes.len() + foreign.len());
    row.push(FORMAT);
    row.extend_from_slice(&[0; 20]);
    row.extend_from_slice(&(notes.len() as u32).to_le_bytes());
    row.extend_from_slice(&notes);
    row.extend_from_slice(&record.bytes);
    row.extend_from_slice(foreign);
    let sum = Digest::of(&row[21..]);
    row[1..21].copy_from_slice(sum.as_bytes());
    Ok(row)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(row: &[u8]) -> Result<Record, RowError> {
    match row.first() {
        None => return Err(RowError::Damaged("it is empty")),
        Some(&FORMAT) => {}
        Some(&format) => return Err(RowError::Format(format)),
    }
    let (sum, rest) = row[1..].split_at_checked(20).ok_or(RowError::Damaged("it is cut short"))?;
    if sum != Digest::of(rest).as_bytes() {
        return Err(RowError::Damaged("its checksum differs"));
    }
    let (length, rest) = rest.split_first_chunk().ok_or(RowError::Damaged("it has no notes"))?;
    let (notes, values) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or(RowError::Damaged("its notes are cut short"))?;
    let notes: Notes = serde_json::from_slice(notes).map_err(|_| RowError::Damaged("its notes cannot be read"))?;
    let (value, foreign) =
        values.split_at_checked(notes.value_bytes).ok_or(RowError::Damaged("its value is cut short"))?;
    let bytes = Bytes::copy_from_slice(value);
    Ok(Record {
        digest: Digest::of(&bytes),
        bytes,
        foreign: notes.has_foreign.then(|| Bytes::copy_from_slice(foreign)),
        kind: notes.kind,
        version: notes.version,
        rank: notes.rank,
        schema: notes.schema.into(),
        produced_at: notes.produced_at,
        soft_expiry: notes.soft_expiry,
        lifetime_end: notes.lifetime_end,
        hard_expiry: notes.hard_expiry,
        origin: match notes.origin {
            NotedOrigin::Gateway(writer) => Origin::Gateway(writer.into()),
            NotedOrigin::Tier(tier) => Origin::Tier(TierName::new(tier)),
        },
        repairs: notes.repairs.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let bytes = Bytes::from_static(br#"{"price":1.5}"#);
        Record {
            digest: Digest::of(&bytes),
            bytes,
            foreign: Some(Bytes::from_static(br#""{\"price\": 1.5}""#)),
            kind: Kind::Real,
            version: Version(u64::MAX),
            rank: 7,
            schema: "ticker".into(),
            produced_at: Time::from_micros(1),
            soft_expiry: Time::from_micros(2),
            lifetime_end: Time::from_micros(3),
            hard_expiry: Time::NEVER,
            origin: Origin::Tier(TierName::new("redis-2")),
            repairs: [Repair { code: "double-encoded".into(), path: "$".into(), message: "one layer".into() }].into(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let before = record();
        let after = decode(&encode(&before).unwrap()).unwrap();
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_noticed() {
        let row = encode(&record()).unwrap();
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed).is_err(), "a change of byte {at} went unnoticed");
            assert!(decode(&row[..at]).is_err(), "a cut at byte {at} went unnoticed");
        }
    }
}
