//! `symbols`: the cards of all monitored symbols.

use serde::Serialize;

use super::SOURCE;
use super::board::Board;
use super::entry::Card;
use super::section::Sections;
use crate::time::iso;

#[derive(Serialize)]
pub struct Symbols<'a> {
    status: &'static str,
    source: &'static str,
    data_source: &'static str,
    /// Why the list is empty; `null` when there is data.
    message: Option<&'static str>,
    symbols: Vec<Card<'a>>,
    timestamp: Option<String>,
    sections: Sections,
    left_out: usize,
}

/// The view.
pub fn of(board: &Board, limit: usize) -> Symbols<'_> {
    let symbols = board.cards(limit);
    Symbols {
        status: board.source().status(),
        source: SOURCE,
        data_source: board.source().real(),
        message: symbols.is_empty().then_some("No live symbol data available"),
        symbols,
        timestamp: iso(board.now),
        sections: board.sections,
        left_out: board.left_out,
    }
}
