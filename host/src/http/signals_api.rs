//! `POST /api/signals`: a JSON array or NDJSON of signals, any number, streamed.
//!
//! Signals go to the aggregator while the body is still arriving. The answer waits until the documents that they are part
//! of have been offered to every tier, and lists what became of each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::App;
use super::body::Pieces;
use super::cache_api::written;
use super::respond::{self, Answer, Refusal};
use super::splitter::{Piece, Splitter};
use crate::cache::Verdict;
use crate::market::{AggregatorError, Published, Ticket};

/// Signals that go to the aggregator together.
const BATCH_MAX: usize = 1_000;

/// Rejected signals that an answer describes; the others are counted.
const REJECTED_SHOWN_MAX: usize = 100;

/// How long an answer waits for the documents.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// What has become of the signals of one body so far.
#[derive(Default)]
struct Tally {
    seen: u64,
    accepted: usize,
    rejected: usize,
    shown: Vec<Rejected>,
    /// Of the last batch of which something was taken.
    ticket: Ticket,
}

/// A signal that was not taken.
#[derive(Serialize)]
struct Rejected {
    /// Its place in the body, from 0.
    index: u64,
    /// Where it starts in the body, in bytes.
    offset: u64,
    code: String,
    message: String,
}

pub(super) async fn post(app: &App, body: Incoming) -> Result<Answer, Refusal> {
    let mut pieces = Pieces::new(body, app.config.body_pause_max);
    let mut splitter = Splitter::new(app.config.signal_bytes_max);
    let mut tally = Tally::default();
    let mut waiting = Vec::new();
    let streamed = stream(app, &mut pieces, &mut splitter, &mut waiting, &mut tally).await;
    let ended = match streamed {
        Ok(()) => splitter.end(&mut waiting).map_err(|error| malformed(&error)),
        Err(refusal) => Err(refusal),
    };
    // What arrived whole before a fault counts.
    tally.hand_over(app, &mut waiting).await?;
    if let Err(refusal) = ended {
        let details = tally.report();
        return Err(refusal.with(Value::Object(details)));
    }
    if tally.accepted == 0 {
        let message = if tally.seen == 0 { "the body holds no signal" } else { "no signal was accepted" };
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-signal", message.to_owned())
            .with(Value::Object(tally.report())));
    }
    Ok(answer(app, &tally).await)
}

async fn stream(
    app: &App,
    pieces: &mut Pieces,
    splitter: &mut Splitter,
    waiting: &mut Vec<Piece>,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    while let Some(piece) = pieces.next().await? {
        splitter.feed(&piece, waiting).map_err(|error| malformed(&error))?;
        // At once, so that a producer that keeps its request open is seen while it sends.
        if !waiting.is_empty() {
            tally.hand_over(app, waiting).await?;
        }
    }
    Ok(())
}

async fn answer(app: &App, tally: &Tally) -> Answer {
    let mut report = tally.report();
    let status = match app.market.published(tally.ticket, PUBLISH_PATIENCE).await {
        // The signals are safe in the log; what becomes of them is in the hands of another gateway.
        Some(round) if round.elsewhere => {
            report.insert("published_by".to_owned(), "another gateway".into());
            StatusCode::ACCEPTED
        }
        Some(round) => {
            report.insert("documents".to_owned(), Value::Object(documents(&round)));
            if let Some(failure) = &round.failure {
                report.insert("failure".to_owned(), failure.to_string().into());
            }
            respond::status(round.verdict())
        }
        None => {
            let message = "the documents were not published in time; the signals are kept by the aggregator";
            report.insert("failure".to_owned(), message.into());
            respond::status(Verdict::Unavailable)
        }
    };
    respond::json(status, &report)
}

fn documents(round: &Arc<Published>) -> Map<String, Value> {
    let one = |(key, outcome): (&crate::record::Key, &Result<crate::cache::Put, crate::cache::DecodeError>)| {
        let value = match outcome {
            Ok(put) => written(key, put),
            Err(error) => json!({ "error": error.to_string() }),
        };
        (key.to_string(), value)
    };
    round.documents.iter().map(one).collect()
}

fn malformed(error: &super::splitter::SplitError) -> Refusal {
    let (status, code) = match error {
        super::splitter::SplitError::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "signal-too-large"),
        super::splitter::SplitError::Malformed { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-json"),
    };
    Refusal::new(status, code, error.to_string())
}

// === impl Tally ===

impl Tally {
    /// Gives all that wait to the aggregator.
    async fn hand_over(&mut self, app: &App, waiting: &mut Vec<Piece>) -> Result<(), Refusal> {
        for batch in waiting.chunks(BATCH_MAX) {
            let bodies: Vec<Bytes> = batch.iter().map(|piece| piece.text.clone()).collect();
            let ingested = app.market.ingest(bodies).await.map_err(|error| self.failed(&error))?;
            self.accepted += ingested.accepted;
            self.rejected += ingested.rejected.len();
            if ingested.accepted > 0 {
                self.ticket = ingested.ticket;
            }
            for rejected in ingested.rejected {
                if self.shown.len() == REJECTED_SHOWN_MAX {
                    break;
                }
                let at = rejected.seq.saturating_sub(ingested.first);
                let offset = usize::try_from(at).ok().and_then(|at| batch.get(at)).map_or(0, |piece| piece.offset);
                let index = self.seen + at;
                self.shown.push(Rejected { index, offset, code: rejected.code, message: rejected.message });
            }
            self.seen += batch.len() as u64;
        }
        waiting.clear();
        Ok(())
    }

    fn failed(&self, error: &AggregatorError) -> Refusal {
        let code = match error {
            AggregatorError::Busy { .. } => "aggregator-busy",
            AggregatorError::Plugin(_) => "aggregator-failed",
            AggregatorError::NotShared(_) => "not-shared",
        };
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string()).with(Value::Object(self.report()))
    }

    fn report(&self) -> Map<String, Value> {
        let mut report = Map::new();
        report.insert("accepted".to_owned(), self.accepted.into());
        report.insert("rejected".to_owned(), json!({ "count": self.rejected, "first": self.shown }));
        report
    }
}
