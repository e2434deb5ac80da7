//! Everything that bears on one key, in one place.

use crate::config::Config;
use crate::contract::{KeyState, Micros};
use crate::known::Remembered;
use crate::tasks::Task;
use crate::time::SECOND;

/// Reads within a half-life, of late, from which on a key counts as read: about one in the last two half-lives.
const READ_FROM: f64 = 0.25;

/// Everything that bears on one key.
pub struct Case<'a> {
    /// The time of the plan.
    pub now: Micros,
    /// How far plans are apart.
    pub gap: Micros,
    /// The operator's choices.
    pub config: &'a Config,
    /// Its task, if the table has one.
    pub task: Option<&'a Task>,
    /// What the host knows of it.
    pub state: &'a KeyState,
    /// What is remembered of it.
    pub known: &'a Remembered,
}

// === impl Case ===

impl Case<'_> {
    /// The age at which the value is to be fetched again: the task's, or the source's if that is shorter.
    pub fn interval(&self) -> Micros {
        let task = self.task.map(Task::interval);
        let source = self.state.source.as_ref().map(|source| Micros::from(source.interval_seconds) * SECOND);
        [task, source].into_iter().flatten().min().unwrap_or(0).max(SECOND)
    }

    /// The class for [`crate::rank`].
    pub fn class(&self) -> u8 {
        match self.task {
            Some(task) => task.priority,
            None if self.is_read() => 3,
            None => 5,
        }
    }

    /// Whether anybody wants it: the table, the operator who gave it a source, or readers.
    pub fn is_wanted(&self) -> bool {
        self.task.is_some() || self.state.source.is_some() || self.is_read()
    }

    fn is_read(&self) -> bool {
        self.known.reads * (self.config.half_life() / SECOND) as f64 >= READ_FROM
    }
}
