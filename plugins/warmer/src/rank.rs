//! The order in which due actions go. This is all of it:
//!
//! ```text
//! priority =  240 - 40 × class     the task's class, 1 to 5; without a task 3 if it is read, 5 if not
//!          +  20, 10 or 0          readers find nothing; they may soon, or take a detour; the interval has run out
//!          +  0 to 19              one for each doubling of (reads per second × milliseconds to fetch it)
//!          -  40                   for each failure in a row, six at most
//!          +  40                   for every 30 s that it has been due
//! ```
//!
//! within 1 and 255. So what is lost within a class is made up between the keys of that class alone; a task that fails falls
//! a class each time and yields its place; and what waits rises a class every 30 s, so that nothing waits for ever. Among
//! equals, the one that waited longest goes first.

use crate::contract::Micros;
use crate::time::SECOND;

/// How wide a class is.
const CLASS: u64 = 40;

/// How long it takes to rise by a class.
const CLASS_WAIT: Micros = 30 * SECOND;

/// The most that reads and cost can add. With the greatest [`Urgency`] it stays within a class.
const WORTH_MAX: u64 = 19;

/// Failures that count: enough to fall from the highest class to the bottom, and few enough to rise again in minutes.
const FAILURES_MAX: u32 = 6;

/// What a fetch takes at least, in milliseconds: also of sources that have not answered yet, and of promotions.
const COST_MIN_MS: u64 = 10;

/// What happens to readers without the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// They get good data; it could be newer.
    Routine,
    /// They will find less soon, or find it in a slower tier.
    AtRisk,
    /// They find nothing, a placeholder, or old data.
    Missed,
}

/// What a priority is made of.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The class, from 1 to 5.
    pub class: u8,
    /// What happens to readers without the action.
    pub urgency: Urgency,
    /// Reads per second.
    pub reads: f64,
    /// What a fetch takes.
    pub cost: Micros,
    /// Failures in a row.
    pub failures: u32,
    /// How long it has been due.
    pub waited: Micros,
}

/// The priority of a due action, from 1 to 255.
pub fn priority(standing: &Standing) -> u8 {
    let urgency = match standing.urgency {
        Urgency::Missed => 20,
        Urgency::AtRisk => 10,
        Urgency::Routine => 0,
    };
    let class = 240_u64.saturating_sub(CLASS * u64::from(standing.class));
    let risen = (u128::from(standing.waited) * u128::from(CLASS) / u128::from(CLASS_WAIT)).min(u64::MAX.into()) as u64;
    let fallen = CLASS * u64::from(standing.failures.min(FAILURES_MAX));
    let points = (class + urgency + worth(standing.reads, standing.cost)).saturating_add(risen);
    points.saturating_sub(fallen).clamp(1, 255) as u8
}

/// What losing the value would cost its readers, in doublings.
fn worth(reads: f64, cost: Micros) -> u64 {
    let waiting = reads * (cost / 1000).max(COST_MIN_MS) as f64;
    let doublings = u64::BITS - (waiting as u64).leading_zeros();
    u64::from(doublings).min(WORTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Standing =
        Standing { class: 3, urgency: Urgency::Routine, reads: 1.0, cost: SECOND, failures: 0, waited: 0 };

    #[test]
    fn nothing_but_failures_and_waiting_leaves_the_class() {
        let most = Standing { class: 5, urgency: Urgency::Missed, reads: f64::MAX, cost: Micros::MAX, ..READ };
        let least = Standing { class: 4, reads: 0.0, cost: 0, ..READ };
        assert_eq!((priority(&most), priority(&least)), (79, 80));
    }

    #[test]
    fn what_is_read_more_or_costs_more_goes_first_in_its_class() {
        assert!(priority(&Standing { reads: 4.0, ..READ }) > priority(&READ));
        assert!(priority(&Standing { cost: 4 * SECOND, ..READ }) > priority(&READ));
        assert!(priority(&Standing { reads: 0.0, ..READ }) < priority(&READ));
    }

    #[test]
    fn a_failure_takes_a_class_and_thirty_seconds_of_waiting_give_it_back() {
        let failed = Standing { failures: 1, ..READ };
        assert_eq!(priority(&failed) + 40, priority(&READ));
        assert_eq!(priority(&Standing { waited: 30 * SECOND, ..failed }), priority(&READ));
        let hopeless = Standing { failures: u32::MAX, ..READ };
        assert_eq!(priority(&hopeless), 1);
        // Sixteen classes are as many as there are, six failures included.
        assert_eq!(priority(&Standing { waited: 480 * SECOND, ..hopeless }), 255);
    }
}
