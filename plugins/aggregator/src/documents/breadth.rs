//! `market:breadth`: how many rose, fell and stood still (B42).

use serde::Serialize;

use crate::statistics::{Moves, breadth_percentage, breadth_sentiment};

#[derive(Serialize)]
pub struct Breadth {
    up_count: u32,
    down_count: u32,
    flat_count: u32,
    /// Nothing when nothing moved: 50 would look like a measurement (B37).
    breadth_percentage: Option<f64>,
    market_sentiment: &'static str,
}

/// The document's fields, or nothing when no change is known.
pub fn of(moves: &Moves) -> Option<Breadth> {
    if moves.up + moves.down + moves.flat == 0 {
        return None;
    }
    let percentage = breadth_percentage(f64::from(moves.up), f64::from(moves.down));
    Some(Breadth {
        up_count: moves.up,
        down_count: moves.down,
        flat_count: moves.flat,
        breadth_percentage: percentage,
        market_sentiment: breadth_sentiment(percentage),
    })
}
