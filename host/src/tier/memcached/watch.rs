//! The watch: memcached tells nobody of changes, so it is asked, often and cheaply, for the cas ids of the keys that matter.
//!
//! One round trip asks for all keys and moves no value. A key whose cas id is not that of the value last read is hinted at
//! once, and whoever hears looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::{MissedTickBehavior, interval};

use super::Memcached;
use super::pool::Conversation;
use crate::record::Key;
use crate::tier::{Hear, TierError};

/// The cas id for which each key was last hinted at, in the epoch of the server.
#[derive(Default)]
struct Hinted {
    epoch: u64,
    ids: HashMap<Key, u64>,
}

// === impl Memcached ===

impl Memcached {
    /// Tells `hear` of changes, for ever.
    pub(super) async fn watch(&self, hear: Arc<dyn Hear>) {
        let mut ticks = interval(self.config.watch_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hinted = Hinted::default();
        loop {
            ticks.tick().await;
            let keys = hear.watched();
            // Probes find out when it answers again.
            if keys.is_empty() || !self.breakers.read.is_closed() {
                continue;
            }
            match self.within(self.changed(&keys, &mut hinted)).await {
                Ok(changed) => changed.into_iter().for_each(|key| hear.changed(&self.name, key)),
                // Readers of the tier tell of it.
                Err(error) => tracing::debug!(tier = %self.name, %error, "the watch was not answered"),
            }
        }
    }

    /// The keys that changed since they were last read or hinted at. One that is gone is none: there is nothing to read.
    async fn changed(&self, keys: &[Key], hinted: &mut Hinted) -> Result<Vec<Key>, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let epoch = self.server.epoch.load(Relaxed);
        let items = conversation.items(keys, false, self.value_bytes_max()).await?;
        conversation.complete();
        if hinted.epoch != epoch {
            *hinted = Hinted { epoch, ids: HashMap::new() };
        }
        let mut changed = Vec::new();
        let mut ids = HashMap::with_capacity(keys.len());
        for (key, item) in keys.iter().zip(&items) {
            let Some(item) = item.as_ref().filter(|item| item.bytes_len > 0) else { continue };
            let is_read = self.memories.value(epoch, key, item).is_some();
            if !is_read && hinted.ids.get(key) != Some(&item.cas) {
                changed.push(key.clone());
            }
            ids.insert(key.clone(), item.cas);
        }
        hinted.ids = ids;
        Ok(changed)
    }
}
