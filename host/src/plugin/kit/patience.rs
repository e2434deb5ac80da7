//! Patience with a busy machine: a call that was late is made again before it counts as a failure.

use std::thread;
use std::time::Duration;

use super::law::Broken;

/// How often an input may be late before that counts.
const TRIES: u32 = 5;

/// How long is waited before the next one: whoever makes the machine busy gets on meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Judges until nothing was late, at most [`TRIES`] times.
pub(super) fn patiently(mut judge: impl FnMut() -> Vec<Broken>) -> Vec<Broken> {
    let mut broken = judge();
    for _ in 1..TRIES {
        if !broken.iter().any(|broken| broken.late) {
            break;
        }
        thread::sleep(PAUSE);
        broken = judge();
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::law::Law;
    use super::*;

    #[test]
    fn what_is_late_each_time_is_late_and_what_is_wrong_is_wrong_at_once() {
        let tries = |late: u32| {
            let mut tried = 0;
            let broken = patiently(|| {
                tried += 1;
                if tried > late {
                    Vec::new()
                } else {
                    vec![Broken { law: Law::Answers, what: String::new(), late: true }]
                }
            });
            (tried, broken.len())
        };
        assert_eq!((tries(0), tries(TRIES - 1), tries(TRIES)), ((1, 0), (TRIES, 0), (TRIES, 1)));
        let mut tried = 0;
        let broken = patiently(|| {
            tried += 1;
            vec![Law::Answers.broken("wrong")]
        });
        assert_eq!((tried, broken.len()), (1, 1));
    }
}
