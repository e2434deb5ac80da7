//! The operator's document for this plugin. Unknown fields and impossible values are refused by name.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::contract::{Error, Micros};
use crate::placeholder;
use crate::tasks::{self, Placeholder, Task};
use crate::time::SECOND;

/// The greatest number of keys that can be remembered: the saved state must fit into an answer.
const KEYS_MAX: usize = 10_000;

/// The longest pause.
const DAY_SECONDS: u32 = 86_400;

/// What is kept warm, and how eagerly.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The keys to keep warm. Given, they replace the whole default table.
    pub tasks: Vec<Task>,
    /// A value is fetched again when at most this share of its interval is left of its life.
    pub lead_ratio: f64,
    /// The pause after an attempt, and after the first failure; it doubles with each further failure.
    pub backoff_seconds: u32,
    /// The longest pause after failures, and the pause after a refusal while nothing changed.
    pub backoff_max_seconds: u32,
    /// The shortest pause between two placeholders of one key.
    pub placeholder_pause_seconds: u32,
    /// Keys that are remembered; over it those that were not mentioned longest are forgotten, and tasks never (B61).
    pub keys_max: usize,
    /// How fast past reads lose weight.
    pub half_life_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tasks: tasks::defaults(),
            lead_ratio: 0.2,
            backoff_seconds: 5,
            backoff_max_seconds: 300,
            placeholder_pause_seconds: 30,
            keys_max: 2_000,
            half_life_seconds: 300,
        }
    }
}

impl Config {
    /// Reads the operator's JSON; `{}` gives the defaults.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] names the field and what it may be.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        // Without this, a list would be read as the fields in their order.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("it must be a JSON object".to_owned()));
        }
        let mut document = serde_json::Deserializer::from_slice(json);
        let config: Self = serde_path_to_error::deserialize(&mut document).map_err(|error| {
            let path = error.path().to_string();
            // What is wrong with the whole has no path.
            invalid(if path == "." { error.inner().to_string() } else { format!("`{path}`: {}", error.inner()) })
        })?;
        document.end().map_err(|error| invalid(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The pause after `failures` in a row; without failures, the shortest pause between two attempts.
    pub fn backoff(&self, failures: u32) -> Micros {
        let doublings = failures.saturating_sub(1).min(30);
        let seconds = u64::from(self.backoff_seconds) << doublings;
        seconds.min(self.backoff_max_seconds.into()) * SECOND
    }

    /// The longest pause.
    pub fn backoff_max(&self) -> Micros {
        Micros::from(self.backoff_max_seconds) * SECOND
    }

    /// The shortest pause between two placeholders of one key.
    pub fn placeholder_pause(&self) -> Micros {
        Micros::from(self.placeholder_pause_seconds) * SECOND
    }

    /// The time in which past reads lose half of their weight.
    pub fn half_life(&self) -> Micros {
        Micros::from(self.half_life_seconds) * SECOND
    }

    fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.lead_ratio) {
            return Err(invalid(format!("`lead_ratio` is {}; it is a share from 0 to 1", self.lead_ratio)));
        }
        let spans = [
            ("backoff_seconds", self.backoff_seconds),
            ("backoff_max_seconds", self.backoff_max_seconds),
            ("placeholder_pause_seconds", self.placeholder_pause_seconds),
            ("half_life_seconds", self.half_life_seconds),
        ];
        for (name, seconds) in spans {
            check_span(name, seconds)?;
        }
        if self.backoff_max_seconds < self.backoff_seconds {
            return Err(invalid(format!(
                "`backoff_max_seconds` ({}) must not be below `backoff_seconds` ({})",
                self.backoff_max_seconds, self.backoff_seconds
            )));
        }
        if !(1..=KEYS_MAX).contains(&self.keys_max) || self.keys_max < self.tasks.len() {
            return Err(invalid(format!(
                "`keys_max` is {}; it lies between the number of tasks ({}) and {KEYS_MAX}",
                self.keys_max,
                self.tasks.len()
            )));
        }
        let mut keys = BTreeSet::new();
        for (index, task) in self.tasks.iter().enumerate() {
            check_task(task).map_err(|(field, why)| invalid(format!("`tasks[{index}].{field}` {why}")))?;
            if !keys.insert(&task.key) {
                return Err(invalid(format!("`tasks[{index}].key`: `{}` is given twice", task.key)));
            }
        }
        Ok(())
    }
}

fn check_span(name: &str, seconds: u32) -> Result<(), Error> {
    match (1..=DAY_SECONDS).contains(&seconds) {
        true => Ok(()),
        false => Err(invalid(format!("`{name}` is {seconds}; it lies between 1 and {DAY_SECONDS}"))),
    }
}

fn check_task(task: &Task) -> Result<(), (&'static str, String)> {
    let key = &task.key;
    if !(1..=250).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("key", format!("is {key:?}; a key is 1 to 250 printable ASCII bytes without a space")));
    }
    if !(1..=5).contains(&task.priority) {
        return Err(("priority", format!("is {}; the classes are 1, which goes first, to 5", task.priority)));
    }
    if !(1..=DAY_SECONDS).contains(&task.interval_seconds) {
        return Err(("interval_seconds", format!("is {}; it lies between 1 and {DAY_SECONDS}", task.interval_seconds)));
    }
    match &task.placeholder {
        Placeholder::Switch(true) if !placeholder::KEYS.contains(&key.as_str()) => {
            let keys = placeholder::KEYS.join("`, `");
            Err(("placeholder", format!("is true, and `{key}` has none of its own as `{keys}` have; give the object")))
        }
        Placeholder::Fields(fields) if fields.contains_key(placeholder::MARK_FIELD) => Err((
            "placeholder",
            format!("has a `{}`; that is where the mark of a placeholder goes", placeholder::MARK_FIELD),
        )),
        _ => Ok(()),
    }
}

fn invalid(why: String) -> Error {
    Error::InvalidInput(format!("configuration of the warmer: {why}"))
}
