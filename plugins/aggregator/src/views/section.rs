//! What each section of a view stands on: whether there is data, how fresh it is, and of when.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::contract::{Document, Freshness, Kind, Micros};
use crate::parse;
use crate::time::seconds;

/// The fields of a JSON object.
pub type Fields = Map<String, Value>;

/// How a section stands, as the view says it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Section {
    kind: Provenance,
    freshness: Age,
    /// When its data was made; `null` without data.
    as_of: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Provenance {
    Real,
    Placeholder,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Age {
    Fresh,
    Stale,
    Missing,
}

/// What a whole view stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Fresh data.
    Live,
    /// Data past its time to live.
    Stale,
    /// No data.
    None,
}

impl Source {
    /// The status of a view: it must tell whether there is data (B39).
    pub fn status(self) -> &'static str {
        match self {
            Self::Live | Self::Stale => "success",
            Self::None => "unavailable",
        }
    }

    /// The words of the mobile page.
    pub fn live(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::None => "unavailable",
        }
    }

    /// The words of the other views.
    pub fn real(self) -> &'static str {
        match self {
            Self::Live => "real",
            Self::Stale => "stale",
            Self::None => "no_data",
        }
    }
}

/// The sections of a view.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sections {
    pub overview: Section,
    pub signals: Section,
    pub movers: Section,
    pub breadth: Section,
    pub regime: Section,
    pub dominance: Section,
    pub tickers: Section,
}

impl Sections {
    /// Stale as soon as the overview or the signals are, because they are what the page is about; the other sections
    /// decide only when both are missing.
    pub fn source(&self) -> Source {
        let with_data = |sections: &[Section]| -> Vec<Age> {
            sections
                .iter()
                .filter(|section| section.kind == Provenance::Real)
                .map(|section| section.freshness)
                .collect()
        };
        let main = with_data(&[self.overview, self.signals]);
        if !main.is_empty() {
            return if main.contains(&Age::Stale) { Source::Stale } else { Source::Live };
        }
        let others = with_data(&[self.movers, self.breadth, self.regime, self.dominance, self.tickers]);
        match others.as_slice() {
            [] => Source::None,
            ages if ages.contains(&Age::Fresh) => Source::Live,
            _ => Source::Stale,
        }
    }
}

/// A document that was opened: its data, if it is real.
pub struct Opened {
    /// How the section stands.
    pub section: Section,
    /// The data.
    pub fields: Option<Fields>,
    /// When it was made; 0 without data.
    pub produced_at: Micros,
}

impl Opened {
    /// Keeps the data only if it says something. A document without a statement is a missing one.
    pub fn only_if(self, says_something: impl Fn(&Fields) -> bool) -> Self {
        if self.fields.as_ref().is_some_and(|fields| !says_something(fields)) {
            Self::without(Provenance::Missing)
        } else {
            self
        }
    }

    fn without(kind: Provenance) -> Self {
        Self { section: Section { kind, freshness: Age::Missing, as_of: None }, fields: None, produced_at: 0 }
    }
}

/// The documents of a call by key.
pub struct Shelf<'a>(HashMap<&'a str, &'a Document>);

impl<'a> Shelf<'a> {
    /// Of several documents with one key the last counts.
    pub fn of(documents: &'a [Document]) -> Self {
        Self(documents.iter().map(|document| (document.key.as_str(), document)).collect())
    }

    /// Whether there is a document under `key`, of whatever kind.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Reads a document. A placeholder is named and not read; what is no object is missing.
    pub fn open(&self, key: &str) -> Opened {
        let Some(document) = self.0.get(key) else { return Opened::without(Provenance::Missing) };
        if document.kind == Kind::Placeholder {
            return Opened::without(Provenance::Placeholder);
        }
        let Ok(fields) = parse::object(&document.body) else { return Opened::without(Provenance::Missing) };
        let freshness = match document.freshness {
            Freshness::Fresh => Age::Fresh,
            Freshness::Stale => Age::Stale,
        };
        Opened {
            section: Section { kind: Provenance::Real, freshness, as_of: Some(seconds(document.produced_at)) },
            fields: Some(fields),
            produced_at: document.produced_at,
        }
    }
}
