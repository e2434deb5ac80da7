//! [`Lane`]: what waits for one tier.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::cache::history::History;
use crate::record::{Key, Order, Record, TierName, Time, Version};
use crate::telemetry::metrics;
use crate::tier::disk::journal::{Journal, Ticket, Wish};

/// The shortest wait after an item's first failure; jitter adds up to as much again, here and below.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two tries of an item, without its jitter. Nothing tells when a tier that refused takes again but a
/// try: with the jitter, and with [`SPREAD`] for the others, it has everything within two seconds. While it refuses one item
/// of its lane is tried at a time, however many wait.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(700);

/// When a tier is back, what waits is tried within this span, and not all at once.
pub(super) const SPREAD: Duration = Duration::from_millis(250);

/// How long a delete waits for a tier. What it means to delete does not live longer there.
const DELETE_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What an item costs besides its record's bytes and its key, in bytes.
const ITEM_OVERHEAD_BYTES: usize = 512;

/// How something ended that was not tried any more: the outcome, and why.
pub(super) type End = (&'static str, &'static str);

/// See [`End`].
const REPLACED: End = ("superseded", "a later write or delete waits in its place");

/// See [`End`].
const DELETED_SINCE: End = ("superseded", "the tier was reached, and the key deleted there");

/// See [`End`].
pub(super) const OUTLIVED: End = ("ended", "its life ended before the tier was back");

/// What one lane may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Keys. At the limit further ones are not taken, and their writer is told.
    pub items_max: usize,
    /// Bytes of records, keys and what is noted of them. At the limit as with `items_max`.
    pub bytes_max: u64,
}

/// What waits for one tier.
pub(in crate::cache) struct Lane {
    tier: TierName,
    limits: Limits,
    journal: Option<Arc<Journal>>,
    history: Arc<History>,
    state: Mutex<State>,
    /// Told when the time to try next may have come nearer.
    changed: Notify,
}

#[derive(Default)]
struct State {
    items: HashMap<Key, Item>,
    /// Items that are not under way, by the time of their next try.
    due: BTreeSet<(Instant, Key)>,
    bytes: u64,
    /// Rises with every change of an item, to tell whether it is the one that was tried.
    changes: u64,
}

struct Item {
    wish: Wish,
    bytes: u64,
    change: u64,
    waits: ExponentialBackoff,
    /// `None` while it is under way.
    next: Option<Instant>,
    /// What is tried while it is under way: its try tells how that ends.
    trying: Vec<Part>,
    tries: u32,
    why: String,
}

/// What a writer brings.
pub(in crate::cache) enum Offer {
    Write(Arc<Record>),
    /// Of all values up to this version.
    Delete(Version),
}

/// What one writer was told of that it waits. Each ends once: what came to wait is what has ended and what still waits.
#[derive(Clone)]
pub(in crate::cache) enum Part {
    Delete(Version),
    Write(Arc<Record>),
}

/// How something ended that was tried: the outcome, and why.
pub(super) type Ended = (Part, &'static str, String);

/// What became of it.
pub(in crate::cache) enum Taken {
    /// It waits, and is in the journal with this ticket.
    Waits(Option<Ticket>),
    /// A greater value waits already, or a later delete.
    Outranked,
    /// The lane is full; this says of what.
    Full(String),
}

/// An item to be tried now.
pub(in crate::cache) struct Turn {
    pub key: Key,
    pub wish: Wish,
    change: u64,
}

/// What is told of a lane.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    /// Whose it is.
    pub tier: TierName,
    /// Keys that wait.
    pub depth: usize,
    /// Their bytes, as [`Limits::bytes_max`] counts them.
    pub bytes: u64,
    /// How long the oldest has waited.
    pub oldest: Option<Duration>,
    /// What it may hold.
    pub limits: Limits,
    /// Those that waited longest.
    pub items: Vec<WaitingItem>,
}

/// One item of a lane.
#[derive(Clone, Debug)]
pub struct WaitingItem {
    /// Its key.
    pub key: Key,
    /// What waits.
    pub wish: Wish,
    /// How often it was tried.
    pub tries: u32,
    /// Why it still waits.
    pub why: String,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { items_max: 10_000, bytes_max: 64 << 20 }
    }
}

// === impl Lane ===

impl Lane {
    pub fn new(tier: TierName, limits: Limits, journal: Option<Arc<Journal>>, history: Arc<History>) -> Self {
        Self { tier, limits, journal, history, state: Mutex::default(), changed: Notify::new() }
    }

    pub const fn tier(&self) -> &TierName {
        &self.tier
    }

    /// Takes what a tier could not take.
    pub fn offer(&self, key: &Key, offer: Offer, why: &str, now: Time) -> Taken {
        let mut state = self.lock();
        let (held, part) = (state.items.get(key).map(|item| &item.wish), offer.part());
        let Some(wish) = merged(held, offer, now) else { return Taken::Outranked };
        let bytes = size(key, &wish);
        if let Some(limit) = self.over(&state, key, bytes) {
            // What has ended makes room.
            self.drop_ended(&mut state, now);
            if self.over(&state, key, bytes).is_some() {
                metrics::recovered(&self.tier, "overflow");
                return Taken::Full(limit);
            }
        }
        metrics::recovered(&self.tier, "queued");
        self.end_replaced(&state, key, part, &wish);
        let ticket = self.journal.as_ref().map(|journal| journal.note(&self.tier, key, Some(wish.clone())));
        state.put(key, wish, bytes, why);
        self.changed.notify_one();
        Taken::Waits(ticket)
    }

    /// Takes up what the journal holds.
    pub fn take_up(&self, key: &Key, wish: Wish) {
        let bytes = size(key, &wish);
        parts(&wish).for_each(|_| metrics::recovered(&self.tier, "taken_up"));
        self.lock().put(key, wish, bytes, "it waited before the restart");
        self.changed.notify_one();
    }

    /// Forgets what waits to be written up to `floor`: it was deleted.
    pub fn forget_up_to(&self, key: &Key, floor: Version) -> Option<Ticket> {
        let mut state = self.lock();
        let item = state.items.get(key)?;
        let stays = item.wish.record.clone().filter(|record| record.version > floor);
        match stays {
            Some(_) if item.wish.floor.is_none() => None,
            Some(record) => {
                let wish = Wish { floor: None, record: Some(record), since: item.wish.since };
                let (bytes, why) = (size(key, &wish), item.why.clone());
                self.end_missing(key, item, &wish, DELETED_SINCE);
                let ticket = self.journal.as_ref().map(|journal| journal.note(&self.tier, key, Some(wish.clone())));
                state.put(key, wish, bytes, &why);
                ticket
            }
            None => {
                let nothing = Wish { floor: None, record: None, since: item.wish.since };
                self.end_missing(key, item, &nothing, DELETED_SINCE);
                state.remove(key);
                self.journal.as_ref().map(|journal| journal.note(&self.tier, key, None))
            }
        }
    }

    /// An item whose time has come.
    pub fn turn(&self, now: Instant) -> Option<Turn> {
        let mut state = self.lock();
        if state.due.first().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let (_, key) = state.due.pop_first()?;
        let item = state.items.get_mut(&key)?;
        item.next = None;
        item.trying = parts(&item.wish).collect();
        Some(Turn { key, wish: item.wish.clone(), change: item.change })
    }

    /// The item of this turn needs no other: each part of it has ended. What came meanwhile waits on.
    pub(super) fn settle(&self, turn: &Turn, ends: &[Ended]) {
        let mut state = self.lock();
        for (part, outcome, why) in ends {
            self.end(&turn.key, part, (*outcome, &**why));
        }
        let Some(item) = state.items.get_mut(&turn.key) else { return };
        if item.change == turn.change {
            return self.remove(&mut state, &turn.key);
        }
        let done: Vec<Part> = parts(&turn.wish).collect();
        if item.trying != done {
            return; // It was deleted and came to wait anew, and is tried anew.
        }
        let wish = without(&item.wish, &done);
        if parts(&wish).next().is_none() {
            return self.remove(&mut state, &turn.key);
        }
        let (bytes, why) = (size(&turn.key, &wish), item.why.clone());
        item.trying.clear();
        state.put(&turn.key, wish, bytes, &why);
        state.schedule(&turn.key, Instant::now());
        self.changed.notify_one();
    }

    /// Nothing waits under `key` any more.
    fn remove(&self, state: &mut State, key: &Key) {
        state.remove(key);
        if let Some(journal) = &self.journal {
            // Nobody waits for it: were it lost, the value would be offered to the tier once more.
            journal.note(&self.tier, key, None);
        }
    }

    /// The item of this turn waits for another, later each time.
    pub fn again(&self, turn: &Turn, why: String) {
        let mut state = self.lock();
        let waits_on = |part: &Part| state.items.get(&turn.key).is_some_and(|item| holds(&item.wish, part));
        for part in parts(&turn.wish).filter(|part| !waits_on(part)) {
            self.end(&turn.key, &part, REPLACED);
        }
        let Some(item) = state.items.get_mut(&turn.key) else { return };
        if item.trying != parts(&turn.wish).collect::<Vec<_>>() {
            return; // It was deleted and came to wait anew, and has a time of its own.
        }
        item.trying.clear();
        item.tries += 1;
        item.why = why;
        let wait = if item.change == turn.change { item.waits.next().unwrap_or(WAIT_MAX) } else { Duration::ZERO };
        state.schedule(&turn.key, Instant::now() + wait);
        self.changed.notify_one();
    }

    /// The tier is back: everything is due soon.
    pub fn hurry(&self) {
        let mut state = self.lock();
        let (now, count) = (Instant::now(), state.due.len().max(1) as u32);
        let waiting: Vec<Key> = std::mem::take(&mut state.due).into_iter().map(|(_, key)| key).collect();
        for (at, key) in waiting.iter().enumerate() {
            if let Some(item) = state.items.get_mut(key) {
                item.waits = waits();
            }
            state.schedule(key, now + SPREAD * at as u32 / count);
        }
        self.changed.notify_one();
    }

    /// Ends when an item may be due.
    pub async fn is_due(&self) {
        loop {
            let changed = self.changed.notified();
            let next = self.lock().due.first().map(|(due, _)| *due);
            match next {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => return,
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// Drops what has ended, and tells how much waits.
    pub fn tidy(&self, now: Time) {
        let mut state = self.lock();
        self.drop_ended(&mut state, now);
        let oldest = state.items.values().map(|item| item.wish.since).min();
        metrics::lane(&self.tier, state.items.len(), state.bytes, oldest.map(|since| now.since(since)));
    }

    /// What waits under `key`.
    pub fn item(&self, key: &Key) -> Option<WaitingItem> {
        self.lock().items.get(key).map(|item| item.told(key))
    }

    pub fn status(&self, now: Time, items_max: usize) -> LaneStatus {
        let state = self.lock();
        let mut items: Vec<WaitingItem> = state.items.iter().map(|(key, item)| item.told(key)).collect();
        items.sort_by(|a, b| (a.wish.since, &a.key).cmp(&(b.wish.since, &b.key)));
        let oldest = items.first().map(|item| now.since(item.wish.since));
        items.truncate(items_max);
        LaneStatus {
            tier: self.tier.clone(),
            depth: state.items.len(),
            bytes: state.bytes,
            oldest,
            limits: self.limits.clone(),
            items,
        }
    }

    /// Which limit an item of these bytes would break.
    fn over(&self, state: &State, key: &Key, bytes: u64) -> Option<String> {
        let held = state.items.get(key).map(|item| item.bytes);
        if held.is_none() && state.items.len() >= self.limits.items_max {
            return Some(format!("its lane is full: {} keys wait", state.items.len()));
        }
        let after = state.bytes - held.unwrap_or(0) + bytes;
        (after > self.limits.bytes_max)
            .then(|| format!("its lane is full: it would hold {after} bytes of {}", self.limits.bytes_max))
    }

    fn drop_ended(&self, state: &mut State, now: Time) {
        let ended: Vec<Key> = state
            .items
            .iter()
            .filter(|(_, item)| item.next.is_some() && has_ended(&item.wish, now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            if let Some(item) = state.items.get(&key) {
                parts(&item.wish).for_each(|part| self.end(&key, &part, OUTLIVED));
            }
            self.remove(state, &key);
        }
    }

    /// Ends what no longer waits once `wish` does, because of the newer `part`.
    fn end_replaced(&self, state: &State, key: &Key, part: Part, wish: &Wish) {
        let Some(item) = state.items.get(key) else { return };
        self.end_missing(key, item, wish, REPLACED);
        // The same waits already, or a later delete.
        if holds(&item.wish, &part) || !holds(wish, &part) {
            self.end(key, &part, REPLACED);
        }
    }

    /// Ends what waits in `item` and not in `wish`, but for what is being tried.
    fn end_missing(&self, key: &Key, item: &Item, wish: &Wish, end: End) {
        let stays = |part: &Part| holds(wish, part) || item.trying.contains(part);
        parts(&item.wish).filter(|part| !stays(part)).for_each(|part| self.end(key, &part, end));
    }

    /// Tells how something ended.
    fn end(&self, key: &Key, part: &Part, (outcome, why): (&'static str, &str)) {
        metrics::recovered(&self.tier, outcome);
        tracing::debug!(tier = %self.tier, %key, outcome, why, "what waited for the tier has ended");
        self.history.ended(key, &self.tier, part, outcome, why);
    }

    /// Every change under the lock is whole before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Part ===

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Delete(a), Self::Delete(b)) => a == b,
            (Self::Write(a), Self::Write(b)) => (a.version, a.digest) == (b.version, b.digest),
            _ => false,
        }
    }
}

// === impl Offer ===

impl Offer {
    fn part(&self) -> Part {
        match self {
            Self::Write(record) => Part::Write(record.clone()),
            Self::Delete(version) => Part::Delete(*version),
        }
    }
}

// === impl Item ===

impl Item {
    fn told(&self, key: &Key) -> WaitingItem {
        WaitingItem { key: key.clone(), wish: self.wish.clone(), tries: self.tries, why: self.why.clone() }
    }
}

// === impl State ===

impl State {
    fn put(&mut self, key: &Key, wish: Wish, bytes: u64, why: &str) {
        self.changes += 1;
        let (change, why) = (self.changes, why.to_owned());
        match self.items.get_mut(key) {
            // It keeps its place, and the time of its next try.
            Some(item) => {
                self.bytes = self.bytes - item.bytes + bytes;
                (item.wish, item.bytes, item.change, item.why) = (wish, bytes, change, why);
            }
            None => {
                self.bytes += bytes;
                let mut waits = waits();
                let wait = waits.next().unwrap_or(WAIT_MIN);
                self.items.insert(
                    key.clone(),
                    Item { wish, bytes, change, waits, next: None, trying: Vec::new(), tries: 0, why },
                );
                self.schedule(key, Instant::now() + wait);
            }
        }
    }

    fn schedule(&mut self, key: &Key, next: Instant) {
        let Some(item) = self.items.get_mut(key) else { return };
        if let Some(before) = item.next.replace(next) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((next, key.clone()));
    }

    fn remove(&mut self, key: &Key) {
        let Some(item) = self.items.remove(key) else { return };
        self.bytes -= item.bytes;
        if let Some(next) = item.next {
            self.due.remove(&(next, key.clone()));
        }
    }
}

/// What waits when `offer` has come to what waited before; `None` when it comes too late.
fn merged(held: Option<&Wish>, offer: Offer, now: Time) -> Option<Wish> {
    let (floor, record, since) = held.map_or((None, None, now), |held| (held.floor, held.record.clone(), held.since));
    match offer {
        Offer::Delete(version) => {
            let floor = floor.max(Some(version));
            let record = record.filter(|record| Some(record.version) > floor);
            Some(Wish { floor, record, since })
        }
        Offer::Write(new) => {
            let is_greater = record.is_none_or(|old| Order::of(&old, now) <= Order::of(&new, now));
            (is_greater && Some(new.version) > floor).then(|| Wish { floor, record: Some(new), since })
        }
    }
}

/// What its writers were told of.
fn parts(wish: &Wish) -> impl Iterator<Item = Part> {
    wish.floor.map(Part::Delete).into_iter().chain(wish.record.clone().map(Part::Write))
}

/// Whether `part` waits by `wish`.
fn holds(wish: &Wish, part: &Part) -> bool {
    parts(wish).any(|waiting| waiting == *part)
}

/// What of `wish` is none of `done`.
fn without(wish: &Wish, done: &[Part]) -> Wish {
    let is_open = |part: Part| !done.contains(&part);
    Wish {
        floor: wish.floor.filter(|floor| is_open(Part::Delete(*floor))),
        record: wish.record.clone().filter(|record| is_open(Part::Write(record.clone()))),
        since: wish.since,
    }
}

fn has_ended(wish: &Wish, now: Time) -> bool {
    let is_over = |record: &Arc<Record>| record.remaining(now).is_zero();
    wish.record.as_ref().is_none_or(is_over) && wish.floor.is_none_or(|_| now.since(wish.since) > DELETE_KEPT)
}

fn size(key: &Key, wish: &Wish) -> u64 {
    let held = wish.record.as_ref().map_or(0, |record| {
        record.bytes.len()
            + record.foreign.as_ref().map_or(0, |foreign| foreign.len())
            + record.repairs.iter().map(crate::record::Repair::bytes_held).sum::<usize>()
    });
    (ITEM_OVERHEAD_BYTES + key.as_str().len() + held) as u64
}

/// Jitter keeps items that failed together, and gateways, from coming back together.
pub(super) fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(WAIT_MIN)
        .with_max_delay(WAIT_MAX)
        .without_max_times()
        .with_jitter()
        .build()
}
