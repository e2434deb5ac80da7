//! Leases in memcached: a key that holds the name of its owner, taken by `add`, and prolonged and given back by `cas`, which
//! nobody but the owner does.
//!
//! memcached counts in whole seconds, and may forget a lease to make room: two gateways may hold one at once. Leases spare
//! work and decide nothing.

use std::time::Duration;

use async_trait::async_trait;

use super::connection::{Connection, Stored};
use super::pool::Conversation;
use super::{EXPIRY_PAST, Memcached, expiry};
use crate::record::{Key, Time};
use crate::tier::shared::{Holder, LEASE_PREFIX, Leases};
use crate::tier::{TierError, canary};

/// The value of a lease that this gateway holds.
fn owner() -> &'static [u8] {
    canary::gateway().as_bytes()
}

fn key_of(name: &str) -> Result<Key, TierError> {
    Key::new(format!("{LEASE_PREFIX}{name}")).map_err(|error| TierError::Refused(error.to_string()))
}

/// Replaces the value of a lease that this gateway holds; says whether it still held it.
async fn replace_own(connection: &mut Connection, key: &Key, value: &[u8], expiry: u32) -> Result<bool, TierError> {
    match connection.gets(key).await? {
        Some((holder, cas)) if holder == owner() => Ok(connection.cas(key, value, cas, expiry).await? == Stored::Yes),
        _ => Ok(false),
    }
}

// === impl Memcached ===

impl Memcached {
    async fn take_lease(&self, key: &Key, expiry: u32) -> Result<bool, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let taken = match conversation.add(key, owner(), expiry).await? {
            Stored::Yes => true,
            // Somebody holds it, or held it just now.
            Stored::Outrun => replace_own(&mut conversation, key, owner(), expiry).await?,
            Stored::TooLarge => false,
        };
        conversation.complete();
        Ok(taken)
    }

    async fn end_lease(&self, key: &Key) -> Result<(), TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        replace_own(&mut conversation, key, b"", EXPIRY_PAST).await?;
        conversation.complete();
        Ok(())
    }

    async fn lease_holder(&self, key: &Key) -> Result<Option<Holder>, TierError> {
        let mut conversation = Conversation::begin(&self.pool).await?;
        let item = conversation.items(std::slice::from_ref(key), true, self.value_bytes_max()).await?.pop().flatten();
        conversation.complete();
        // One that was given back may be there, empty, for another moment.
        let held = item.filter(|item| !item.value.is_empty());
        Ok(held.map(|item| Holder {
            gateway: String::from_utf8_lossy(&item.value).into_owned(),
            remaining: item.remaining,
        }))
    }
}

#[async_trait]
impl Leases for Memcached {
    async fn lease(&self, name: &str, span: Duration) -> Result<bool, TierError> {
        let key = key_of(name)?;
        self.breakers.write.call(self.within(self.take_lease(&key, expiry(span, Time::now())))).await
    }

    async fn release(&self, name: &str) -> Result<(), TierError> {
        let key = key_of(name)?;
        self.breakers.write.call(self.within(self.end_lease(&key))).await
    }

    async fn holder(&self, name: &str) -> Result<Option<Holder>, TierError> {
        let key = key_of(name)?;
        self.breakers.read.call(self.within(self.lease_holder(&key))).await
    }
}
