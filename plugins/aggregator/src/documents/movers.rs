//! `market:movers`: the ten that rose most, fell most, and were traded most.

use serde::Serialize;

use super::{Mover, Scene};
use crate::signal::Record;
use crate::time::seconds;

/// Records in each list.
const TOP: usize = 10;

#[derive(Serialize)]
pub struct Movers {
    gainers: Vec<Mover>,
    losers: Vec<Mover>,
    volume_leaders: Vec<Mover>,
}

/// The document's fields, or nothing when no list has a record.
pub fn of(scene: &Scene<'_>) -> Option<Movers> {
    let movers = Movers {
        gainers: top(scene, |record| record.change_24h.filter(|change| *change > 0.0)),
        losers: top(scene, |record| record.change_24h.filter(|change| *change < 0.0).map(|change| -change)),
        volume_leaders: top(scene, Record::quote_turnover),
    };
    let is_empty = movers.gainers.is_empty() && movers.losers.is_empty() && movers.volume_leaders.is_empty();
    (!is_empty).then_some(movers)
}

/// The priced records with the greatest `measure`; equal ones stay in the order of the scene.
fn top(scene: &Scene<'_>, measure: impl Fn(&Record) -> Option<f64>) -> Vec<Mover> {
    let mut ranked: Vec<(f64, &Record, f64)> =
        scene.held.iter().filter_map(|held| Some((measure(&held.record)?, &held.record, held.record.price?))).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
        .into_iter()
        .take(TOP)
        .map(|(_, record, price)| {
            let at = Some(seconds(record.timestamp));
            Mover::new(&record.symbol, price, record.change_24h, record.quote_turnover(), at)
        })
        .collect()
}
