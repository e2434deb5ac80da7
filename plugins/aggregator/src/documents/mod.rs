//! The documents that this plugin publishes, in the shapes of the schema that the producers write and read.
//!
//! Each is encoded once and holds no list twice (B52). Its `timestamp` is a stamp: that of the newest signal, and a
//! microsecond more for each one since. So it says how new the data is, and of two documents that were made one after
//! the other it is greater in the second, although their signals may be of one moment: the cache goes by it.

mod breadth;
mod mover;
mod movers;
mod overview;
mod signals;

use serde::Serialize;

pub use mover::Mover;
pub use overview::Inputs;

use crate::NAME;
use crate::config::Config;
use crate::contract::{Error, Micros, Publication};
use crate::observed::OVERVIEW;
use crate::statistics::Moves;
use crate::table::Held;
use crate::time::seconds;

/// The key of the signals.
pub const SIGNALS: &str = "analysis:signals";
/// The key of the movers.
pub const MOVERS: &str = "market:movers";
/// The key of the breadth.
pub const BREADTH: &str = "market:breadth";

/// What the documents are made from: the records of the window, best score first.
pub struct Scene<'a> {
    /// The operator's settings.
    pub config: &'a Config,
    /// The documents' timestamp, no less than that of any record.
    pub stamp: Micros,
    /// The records. There is at least one.
    pub held: &'a [&'a Held],
    /// What their changes add up to.
    pub moves: Moves,
}

/// All documents that there is data for.
pub fn all(scene: &Scene<'_>, inputs: &Inputs<'_>) -> Result<Vec<Publication>, Error> {
    let publish = Publisher { stamp: scene.stamp, ttl_seconds: scene.config.ttl_seconds };
    let mut documents =
        vec![publish.document(SIGNALS, signals::of(scene))?, publish.document(OVERVIEW, overview::of(scene, inputs))?];
    // Without a single known price or change, an empty list or a zero would only hide what another producer knows.
    if let Some(movers) = movers::of(scene) {
        documents.push(publish.document(MOVERS, movers)?);
    }
    if let Some(breadth) = breadth::of(&scene.moves) {
        documents.push(publish.document(BREADTH, breadth)?);
    }
    Ok(documents)
}

struct Publisher {
    stamp: Micros,
    ttl_seconds: u32,
}

/// The head and the tail that every document has.
#[derive(Serialize)]
struct Envelope<T> {
    timestamp: f64,
    version: &'static str,
    #[serde(flatten)]
    fields: T,
    __producer: &'static str,
    __schema_version: &'static str,
    __cache_key: &'static str,
}

impl Publisher {
    fn document(&self, key: &'static str, fields: impl Serialize) -> Result<Publication, Error> {
        let envelope = Envelope {
            timestamp: seconds(self.stamp),
            version: "1.0",
            fields,
            __producer: NAME,
            __schema_version: "1.0",
            __cache_key: key,
        };
        let body = serde_json::to_vec(&envelope).map_err(|error| Error::Internal(format!("{key}: {error}")))?;
        Ok(Publication { key, body, ttl_seconds: self.ttl_seconds })
    }
}
