//! Placeholders: stand-ins for readers that need to find something. They are written only where nothing is (B5, B6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::history::What;
use super::policy::TTL_MIN;
use super::record::{Circumstances, record};
use super::survey::Holding;
use super::write::{Put, report};
use super::{Cache, DecodeError, Decoded};
use crate::record::{Digest, Key, Kind, Origin, Time, Version, WriteOutcome};
use crate::telemetry::metrics;

/// Why there is no placeholder.
#[derive(Debug, thiserror::Error)]
pub enum NotPlaced {
    /// A value is there, or was a moment ago.
    #[error("a {} value is there", .0.as_str())]
    Taken(Kind),
    /// A tier holds bytes that are no value, and that somebody put there.
    #[error("{0} holds something")]
    Occupied(String),
    /// A tier did not answer: it may hold a value.
    #[error("{0} did not answer, and may hold a value")]
    Unknown(String),
    /// The codec of the key does not take it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Cache {
    /// Writes a placeholder if every tier answers that it has nothing, and memory has nothing either. Whatever the codec says
    /// of `payload`, it counts as a placeholder.
    ///
    /// A value that somebody writes meanwhile wins in every tier, and the placeholder is taken back where it was stored.
    ///
    /// # Errors
    ///
    /// When something is there or may be, and when the codec refuses the payload; then nothing was written.
    pub async fn put_placeholder(
        self: &Arc<Self>,
        key: &Key,
        payload: Bytes,
        from: Arc<str>,
        ttl: Duration,
    ) -> Result<Put, NotPlaced> {
        self.check_vacant(key)
            .await
            .inspect_err(|taken| self.history.not_placed(key, &from, payload.len(), taken.to_string()))?;
        let decoded = self.appraiser.codec().decode(key, &payload, 0).inspect_err(|error| {
            self.tell_loss(key, self.history.refused(key, &from, What::refused(payload.len(), error)));
        })?;
        let now = Time::now();
        let ttl = ttl.max(TTL_MIN);
        let about = Circumstances {
            origin: Origin::Gateway(from.clone()),
            // Among placeholders any other one is greater.
            version: Version(0),
            produced_at: now,
            lifetime_end: now.after(ttl),
        };
        let decoded = Decoded { kind: Kind::Placeholder, schema_version: None, ..decoded };
        let record = Arc::new(record(&payload, decoded, self.policy.of(key), about));
        let outcomes = self.write(key, &record, Some(ttl), now).await;
        for (tier, outcome) in &outcomes {
            metrics::written(tier, outcome);
            report(key, tier, outcome, &record, &from);
        }
        self.tell_loss(key, self.history.wrote(key, &from, &record, &outcomes, now));
        let put = Put { outcomes, record };
        if put.below().any(|outcome| matches!(outcome, WriteOutcome::Refused(_))) {
            self.take_back(key, &put).await;
        }
        Ok(put)
    }

    async fn check_vacant(&self, key: &Key) -> Result<(), NotPlaced> {
        let Some(survey) = self.survey(std::slice::from_ref(key)).await.pop() else { return Ok(()) };
        if let Some(record) = survey.record {
            return Err(NotPlaced::Taken(record.kind));
        }
        for (tier, holding) in self.tiers.iter().zip(survey.tiers) {
            match holding {
                Holding::Absent => {}
                Holding::Unknown => return Err(NotPlaced::Unknown(tier.name().to_string())),
                Holding::Until(_) => return Err(NotPlaced::Occupied(tier.name().to_string())),
            }
        }
        Ok(())
    }

    /// Removes a placeholder from the tiers that stored it, because another tier has a value.
    async fn take_back(&self, key: &Key, put: &Put) {
        let stored = Digest::of(&put.record.bytes);
        for tier in &self.tiers {
            let took =
                put.outcomes.iter().any(|(name, outcome)| name == tier.name() && *outcome == WriteOutcome::Stored);
            if took {
                let outcome = tier.delete_exact(key, stored).await;
                self.history.removed(key, tier.name(), put.record.version, &outcome, "a placeholder was taken back");
                tracing::info!(%key, tier = %tier.name(), outcome = outcome.label(), "a value came in between; the placeholder was taken back");
            }
        }
    }
}
