//! [`Flights`]: one look below memory per key, whoever asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Refreshed;
use crate::record::Key;

/// The flights under way. A flight lives in a task of its own: a reader that goes away does not stop it.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Key, watch::Receiver<Option<Arc<Refreshed>>>>>,
}

/// A seat in a flight.
pub(super) enum Seat {
    /// The first: it must fly, and land with this sender.
    Leader(watch::Sender<Option<Arc<Refreshed>>>, watch::Receiver<Option<Arc<Refreshed>>>),
    /// A follower: it waits.
    Follower(watch::Receiver<Option<Arc<Refreshed>>>),
}

// === impl Flights ===

impl Flights {
    /// Joins the flight for `key`, or starts one.
    pub fn board(&self, key: &Key) -> Seat {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.entry(key.clone()) {
            Entry::Occupied(flight) => Seat::Follower(flight.get().clone()),
            Entry::Vacant(place) => {
                let (land, arrival) = watch::channel(None);
                place.insert(arrival.clone());
                Seat::Leader(land, arrival)
            }
        }
    }

    /// Ends the flight for `key`.
    pub fn ended(&self, key: &Key) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Waits for a flight to land; `None` if its task died.
pub(super) async fn landed(mut arrival: watch::Receiver<Option<Arc<Refreshed>>>) -> Option<Arc<Refreshed>> {
    arrival.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
}
