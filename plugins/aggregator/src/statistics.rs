//! The formulas that documents and views share. Each answers nothing where there is nothing to compute from (B37).

use crate::number::round;

/// The mean, or nothing for no numbers.
pub fn mean(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.into_iter().fold((0.0, 0_u32), |(sum, count), number| (sum + number, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The sample standard deviation, or nothing for fewer than two numbers.
pub fn sample_deviation(numbers: &[f64]) -> Option<f64> {
    let mean = mean(numbers.iter().copied()).filter(|_| numbers.len() >= 2)?;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    Some((squares / (numbers.len() - 1) as f64).sqrt())
}

/// 0 when all fall, 50 when balanced, 100 when all rise; nothing when nothing moved.
pub fn trend_strength(up: f64, down: f64) -> Option<f64> {
    (up + down > 0.0).then(|| round(50.0 + 50.0 * (up - down) / (up + down), 2))
}

/// The percentage of symbols that rose among those that moved; nothing when nothing moved.
pub fn breadth_percentage(up: f64, down: f64) -> Option<f64> {
    (up + down > 0.0).then(|| up / (up + down) * 100.0)
}

/// The word for a breadth percentage.
pub fn breadth_sentiment(percentage: Option<f64>) -> &'static str {
    match percentage {
        Some(percentage) if percentage >= 60.0 => "bullish",
        Some(percentage) if percentage <= 40.0 => "bearish",
        _ => "neutral",
    }
}

/// What the percent changes of all symbols add up to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moves {
    /// Symbols that rose.
    pub up: u32,
    /// Symbols that fell.
    pub down: u32,
    /// Symbols that did neither.
    pub flat: u32,
    /// Sample deviation of the changes that are not 0; 0 when fewer than two moved; nothing when no change is known.
    pub dispersion: Option<f64>,
    /// Mean of the changes that are not 0, on the same terms.
    pub average: Option<f64>,
}

impl Moves {
    /// Counts and measures `changes`.
    pub fn of(changes: &[f64]) -> Self {
        let count = |test: fn(&f64) -> bool| changes.iter().filter(|change| test(change)).count() as u32;
        let moved: Vec<f64> = changes.iter().copied().filter(|change| *change != 0.0).collect();
        let known = |number: Option<f64>| (!changes.is_empty()).then(|| round(number.unwrap_or(0.0), 2));
        Self {
            up: count(|change| *change > 0.0),
            down: count(|change| *change < 0.0),
            flat: count(|change| *change == 0.0),
            dispersion: known(sample_deviation(&moved)),
            average: known(mean(moved.iter().copied())),
        }
    }
}
