//! A simulated host: tiers with lifetimes, sources that may fail, a budget, and a clock that is stepped.
//!
//! It keeps the promises of the interface and no others: actions go by priority and then in the order of the answer, those
//! over the budget are told so, a placeholder is put only where nothing is, a promotion keeps the remaining lifetime.

use std::collections::BTreeMap;

use tiergate_warmer::{Attempt, Fate, Holding, KeyState, Kind, Micros, SourceState, Step, Warmer};

use super::{NOW, SECOND};

/// A value in a tier.
#[derive(Clone, Debug)]
pub struct Held {
    pub kind: Kind,
    pub produced_at: Micros,
    pub version: u64,
    pub until: Micros,
    pub body: String,
}

/// A tier below memory.
#[derive(Clone, Debug, Default)]
pub struct Tier {
    pub silent: bool,
    pub held: BTreeMap<String, Held>,
}

/// Where a key can be fetched.
#[derive(Clone, Debug)]
pub struct Origin {
    pub interval_seconds: u32,
    pub cost: Micros,
    pub fails: bool,
    /// How long what it brings lives.
    pub life_seconds: u64,
    /// Whether a fetch does nothing while real data has more than a minute to live, as the old skip did.
    pub skips: bool,
    not_before: Micros,
}

impl Origin {
    pub fn every(interval_seconds: u32) -> Self {
        Self { interval_seconds, cost: SECOND / 5, fails: false, life_seconds: 300, skips: false, not_before: 0 }
    }

    pub fn failing(self) -> Self {
        Self { fails: true, ..self }
    }

    pub fn living(self, life_seconds: u64) -> Self {
        Self { life_seconds, ..self }
    }

    pub fn skipping(self) -> Self {
        Self { skips: true, ..self }
    }
}

/// An action that came to something.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub at: Micros,
    pub key: String,
    pub step: Step,
    pub fate: Fate,
}

#[derive(Clone, Debug, Default)]
struct Account {
    hits: u64,
    misses: u64,
    last_attempt: Option<Attempt>,
    failures: u32,
}

/// The simulated host.
pub struct Host {
    pub now: Micros,
    pub plan_every: u64,
    pub budget: usize,
    pub memory: BTreeMap<String, Held>,
    pub tiers: Vec<Tier>,
    pub origins: BTreeMap<String, Origin>,
    /// Everything that was tried, and what was over the budget.
    pub runs: Vec<Run>,
    warmer: Warmer,
    accounts: BTreeMap<String, Account>,
    started: Micros,
}

impl Host {
    /// A host with two empty tiers that plans every 30 s with 5 places, as the old warmer did.
    pub fn new(warmer: Warmer) -> Self {
        Self {
            now: NOW,
            plan_every: 30,
            budget: 5,
            memory: BTreeMap::new(),
            tiers: vec![Tier::default(), Tier::default()],
            origins: BTreeMap::new(),
            runs: Vec::new(),
            warmer,
            accounts: BTreeMap::new(),
            started: NOW,
        }
    }

    /// Gives a key a source.
    pub fn origin(mut self, key: &str, origin: Origin) -> Self {
        self.origins.insert(key.to_owned(), origin);
        self
    }

    /// Somebody else's write into one tier.
    pub fn write(&mut self, tier: usize, key: &str, body: &str, life_seconds: u64) {
        let until = self.now + life_seconds * SECOND;
        let held = Held { kind: Kind::Real, produced_at: self.now, version: self.now, until, body: body.to_owned() };
        self.tiers[tier].held.insert(key.to_owned(), held);
    }

    /// Reads a key so many times.
    pub fn read(&mut self, key: &str, times: u64) {
        let found = self.best(key).is_some();
        let account = self.accounts.entry(key.to_owned()).or_default();
        if found { account.hits += times } else { account.misses += times }
    }

    /// Lets time pass. `each_second` sees the host after every second, before the plan of that second.
    pub fn run(&mut self, seconds: u64, mut each_second: impl FnMut(&mut Self)) {
        for _ in 0..seconds {
            self.expire();
            each_second(self);
            if ((self.now - self.started) / SECOND).is_multiple_of(self.plan_every) {
                self.plan();
            }
            self.now += SECOND;
        }
    }

    /// Whether a tier has the key.
    pub fn has(&self, tier: usize, key: &str) -> bool {
        self.tiers[tier].held.contains_key(key)
    }

    /// What came to something for a key, over-budget apart.
    pub fn tried(&self, key: &str) -> Vec<&Run> {
        self.runs.iter().filter(|run| run.key == key && run.fate != Fate::OverBudget).collect()
    }

    /// Seconds from the start at which a step was tried for a key.
    pub fn times(&self, key: &str, step: Step) -> Vec<u64> {
        self.tried(key).iter().filter(|run| run.step == step).map(|run| (run.at - self.started) / SECOND).collect()
    }

    /// One plan, carried out.
    pub fn plan(&mut self) {
        let states: Vec<KeyState> = self.keys().iter().map(|key| self.state(key)).collect();
        for account in self.accounts.values_mut() {
            (account.hits, account.misses) = (0, 0);
        }
        let mut actions = self.warmer.plan(self.now, &states, self.budget as u32);
        assert_eq!(actions.len(), states.len(), "every key gets an action");
        actions.retain(|action| action.step != Step::Leave);
        actions.sort_by_key(|action| std::cmp::Reverse(action.priority));
        for (index, action) in actions.into_iter().enumerate() {
            let fate = match action.step {
                _ if index >= self.budget => Fate::OverBudget,
                Step::Refresh => self.refresh(&action.key),
                Step::Promote => self.promote(&action.key),
                Step::Placeholder => self.place(&action.key, &action.body),
                Step::Leave => unreachable!("removed above"),
            };
            let account = self.accounts.entry(action.key.clone()).or_default();
            account.last_attempt = Some(Attempt { step: action.step, at: self.now, fate });
            match fate {
                Fate::Failed => account.failures += 1,
                Fate::Done | Fate::AlreadyThere => account.failures = 0,
                Fate::Refused | Fate::OverBudget => {}
            }
            self.runs.push(Run { at: self.now, key: action.key, step: action.step, fate });
        }
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = self.warmer.watches();
        keys.extend(self.origins.keys().cloned());
        keys.extend(
            self.accounts.iter().filter(|(_, account)| account.hits + account.misses > 0).map(|(k, _)| k.clone()),
        );
        keys.sort();
        keys.dedup();
        keys
    }

    fn state(&self, key: &str) -> KeyState {
        let best = self.best(key);
        let account = self.accounts.get(key).cloned().unwrap_or_default();
        KeyState {
            key: key.to_owned(),
            kind: best.map(|held| held.kind),
            produced_at: best.map(|held| held.produced_at),
            version: best.map_or(0, |held| held.version),
            fresh_until: best.map(|held| held.produced_at + 300 * SECOND),
            in_memory: self.memory.contains_key(key),
            tiers: self
                .tiers
                .iter()
                .map(|tier| match tier.held.get(key) {
                    _ if tier.silent => Holding::Unknown,
                    Some(held) => Holding::Until(held.until),
                    None => Holding::Absent,
                })
                .collect(),
            hits: account.hits,
            misses: account.misses,
            source: self.origins.get(key).map(|origin| SourceState {
                name: "origin".to_owned(),
                interval_seconds: origin.interval_seconds,
                not_before: origin.not_before,
                cost: origin.cost,
            }),
            last_attempt: account.last_attempt,
            failures: account.failures,
        }
    }

    fn best(&self, key: &str) -> Option<&Held> {
        let tiers = self.tiers.iter().filter(|tier| !tier.silent).filter_map(|tier| tier.held.get(key));
        tiers.chain(self.memory.get(key)).max_by_key(|held| (held.kind == Kind::Real, held.version))
    }

    fn expire(&mut self) {
        let now = self.now;
        self.memory.retain(|_, held| held.until > now);
        for tier in &mut self.tiers {
            tier.held.retain(|_, held| held.until > now);
        }
    }

    fn refresh(&mut self, key: &str) -> Fate {
        let now = self.now;
        let good =
            self.best(key).is_some_and(|held| held.kind == Kind::Real && held.until.saturating_sub(now) > 60 * SECOND);
        let origin = self.origins.get_mut(key).expect("a refresh needs a source");
        assert!(origin.not_before <= now, "{key} was asked for too early");
        if origin.fails {
            return Fate::Failed;
        }
        if origin.skips && good {
            return Fate::AlreadyThere;
        }
        origin.not_before = now + u64::from(origin.interval_seconds) * SECOND;
        let until = now + origin.life_seconds * SECOND;
        let held = Held { kind: Kind::Real, produced_at: now, version: now, until, body: "fetched".to_owned() };
        self.memory.insert(key.to_owned(), held.clone());
        for tier in self.tiers.iter_mut().filter(|tier| !tier.silent) {
            tier.held.insert(key.to_owned(), held.clone());
        }
        Fate::Done
    }

    fn promote(&mut self, key: &str) -> Fate {
        let answering = self.tiers.iter().enumerate().rev().filter(|(_, tier)| !tier.silent);
        let Some((slowest, held)) =
            answering.filter_map(|(index, tier)| Some((index, tier.held.get(key)?.clone()))).next()
        else {
            return Fate::Failed;
        };
        let faster = self.tiers[..slowest].iter_mut().filter(|tier| !tier.silent).map(|tier| &mut tier.held);
        let mut copied = false;
        for place in faster.chain([&mut self.memory]) {
            if !place.contains_key(key) {
                place.insert(key.to_owned(), held.clone());
                copied = true;
            }
        }
        if copied { Fate::Done } else { Fate::AlreadyThere }
    }

    fn place(&mut self, key: &str, body: &[u8]) -> Fate {
        if self.best(key).is_some() || self.tiers.iter().any(|tier| tier.silent) {
            return Fate::Refused;
        }
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        let until = self.now + 30 * SECOND;
        let held = Held { kind: Kind::Placeholder, produced_at: self.now, version: self.now, until, body };
        for tier in &mut self.tiers {
            tier.held.insert(key.to_owned(), held.clone());
        }
        Fate::Done
    }
}
