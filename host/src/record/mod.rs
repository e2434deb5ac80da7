//! The vocabulary that every room speaks: keys, records, the order between records, and outcomes.
//!
//! A [`Record`] is an immutable value of a [`Key`] with what the host knows about it. Two records of a key are compared by
//! their [`Order`], which is the same in every tier and every gateway. Nothing here does any input or output.

mod key;
mod order;
mod outcome;
mod spelling;
mod time;
mod value;

pub use key::{KEY_BYTES_MAX, Key, KeyError};
pub use order::{Digest, Kind, Order, Version};
pub use outcome::{DeleteOutcome, Failure, ReadOutcome, RejectedWhy, StaleWhy, TierName, WriteOutcome};
pub use time::Time;
pub use value::{Origin, Record, Rejection, Repair};
