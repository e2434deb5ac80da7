//! What the documents of each key must look like. One module for each kind of document.
//!
//! Common to all: unknown fields pass through untouched (B36), nothing is filled in (B37), a bad record costs itself (B32),
//! and a document that says nothing is a placeholder.

use crate::answer::Rejection;
use crate::tree::{Json, Object};

pub(crate) mod alerts;
pub(crate) mod breadth;
pub(crate) mod coingecko;
pub(crate) mod confluence;
pub(crate) mod dominance;
pub(crate) mod movers;
pub(crate) mod overview;
pub(crate) mod plain;
pub(crate) mod regime;
pub(crate) mod signals;
pub(crate) mod tickers;

/// The object that a document must be.
fn object<'a>(root: Json<'a>, wanted: &str) -> Result<Object<'a>, Rejection> {
    match root {
        Json::Object(object) => Ok(object),
        other => Err(Rejection::whole("wrong-shape", format!("{} where {wanted} belongs", other.what()))),
    }
}

/// Refuses a list of which no record could be kept.
fn some_valid(came: usize, kept: usize, what: &str) -> Result<(), Rejection> {
    match came > 0 && kept == 0 {
        true => Err(Rejection::whole("no-valid-record", format!("none of the {came} {what} is valid"))),
        false => Ok(()),
    }
}
