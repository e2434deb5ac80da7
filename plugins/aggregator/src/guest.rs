//! The plugin as its host sees it: the WIT interface over one [`Aggregator`].

use std::cell::RefCell;

use crate::contract::{self, Document, Freshness, Kind, Publication, Rejected, Signal, ViewRequest};
use crate::{Aggregator, NAME, VERSION};

use bindings::exports::tiergate::plugin::{aggregator, lifecycle, state};
use bindings::tiergate::plugin::{host_metrics, types};

#[allow(unsafe_code, missing_docs, reason = "generated from the WIT package: the calls across the component's border")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "aggregator-plugin" });
    use super::Plugin;
    export!(Plugin);
}

thread_local! {
    /// The state of this instance; none before `init`.
    static AGGREGATOR: RefCell<Option<Aggregator>> = const { RefCell::new(None) };
}

/// Runs `call` on the state.
fn with<T>(call: impl FnOnce(&mut Aggregator) -> Result<T, contract::Error>) -> Result<T, types::PluginError> {
    AGGREGATOR.with_borrow_mut(|slot| match slot {
        Some(aggregator) => call(aggregator).map_err(Into::into),
        None => Err(types::PluginError::InvalidInput("called before `init`".to_owned())),
    })
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> lifecycle::Info {
        lifecycle::Info { name: NAME.to_owned(), version: VERSION.to_owned() }
    }

    fn init(config: Vec<u8>) -> Result<(), types::PluginError> {
        let aggregator = Aggregator::new(&config)?;
        AGGREGATOR.set(Some(aggregator));
        Ok(())
    }
}

impl state::Guest for Plugin {
    fn save() -> Result<Vec<u8>, types::PluginError> {
        with(|aggregator| aggregator.save())
    }

    fn restore(saved: Vec<u8>) -> Result<(), types::PluginError> {
        with(|aggregator| aggregator.restore(&saved))
    }
}

impl aggregator::Guest for Plugin {
    fn ingest(now: u64, batch: Vec<aggregator::Signal>) -> Result<Vec<aggregator::Rejected>, types::PluginError> {
        with(|aggregator| {
            let offered = batch.len() as u64;
            let rejected = aggregator.ingest(now, batch.into_iter().map(Into::into).collect());
            host_metrics::add("signals_offered", offered);
            host_metrics::add("signals_rejected", rejected.len() as u64);
            host_metrics::set("symbols", aggregator.symbols() as f64);
            Ok(rejected.into_iter().map(Into::into).collect())
        })
    }

    fn observe(_now: u64, changed: Vec<types::Document>) -> Result<(), types::PluginError> {
        let changed: Vec<Document> = changed.into_iter().map(Into::into).collect();
        with(|aggregator| {
            aggregator.observe(&changed);
            Ok(())
        })
    }

    fn documents(now: u64) -> Result<Vec<aggregator::Publication>, types::PluginError> {
        with(|aggregator| Ok(aggregator.documents(now)?.into_iter().map(Into::into).collect()))
    }

    fn inputs() -> Vec<String> {
        Aggregator::inputs()
    }

    fn compose(
        now: u64,
        views: Vec<aggregator::ViewRequest>,
        documents: Vec<types::Document>,
    ) -> Result<Vec<Vec<u8>>, types::PluginError> {
        let views: Vec<ViewRequest> = views.into_iter().map(Into::into).collect();
        let documents: Vec<Document> = documents.into_iter().map(Into::into).collect();
        with(|aggregator| aggregator.compose(now, &views, &documents))
    }
}

impl From<contract::Error> for types::PluginError {
    fn from(error: contract::Error) -> Self {
        match error {
            contract::Error::InvalidInput(why) => Self::InvalidInput(why),
            contract::Error::Unsupported(why) => Self::Unsupported(why),
            contract::Error::Internal(why) => Self::Internal(why),
        }
    }
}

impl From<aggregator::Signal> for Signal {
    fn from(signal: aggregator::Signal) -> Self {
        Self { seq: signal.seq, received_at: signal.received_at, body: signal.body }
    }
}

impl From<Rejected> for aggregator::Rejected {
    fn from(rejected: Rejected) -> Self {
        Self { seq: rejected.seq, code: rejected.code.to_owned(), message: rejected.message }
    }
}

impl From<Publication> for aggregator::Publication {
    fn from(publication: Publication) -> Self {
        Self { key: publication.key.to_owned(), body: publication.body, ttl_seconds: publication.ttl_seconds }
    }
}

impl From<aggregator::ViewRequest> for ViewRequest {
    fn from(view: aggregator::ViewRequest) -> Self {
        Self { name: view.name, limit: view.limit }
    }
}

impl From<types::Document> for Document {
    fn from(document: types::Document) -> Self {
        Self {
            key: document.key,
            kind: match document.kind {
                types::Kind::Placeholder => Kind::Placeholder,
                types::Kind::Real => Kind::Real,
            },
            freshness: match document.freshness {
                types::Freshness::Fresh => Freshness::Fresh,
                types::Freshness::Stale => Freshness::Stale,
            },
            produced_at: document.produced_at,
            version: document.version,
            body: document.body,
        }
    }
}
