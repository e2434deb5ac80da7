//! What candles say about a market, as numbers from 0 (falling) over 50 (undecided) to 100 (rising).
//!
//! Pure functions of the newest candles. Each answers 50 when there is nothing to see: no movement, no volume.

use super::Candle;

// The spans that charts use by default.
const RSI_SPAN: usize = 14;
const FAST_SPAN: usize = 12;
const SLOW_SPAN: usize = 26;
/// Candles in an hour.
const HOUR: usize = 12;

/// The mean of RSI(14) and the position of EMA(12) against EMA(26).
pub fn technical(closes: &[f64]) -> f64 {
    (rsi(closes, RSI_SPAN) + ema_position(closes)) / 2.0
}

/// Volume of the last hour against its mean over `candles`, counted for the side to which each close moved.
///
/// A single candle's volume jumps too much to read; an hour of them shows who is pushing. Usual volume on one side gives
/// 25 or 75, and no volume reaches 0 or 100.
pub fn volume(candles: &[Candle]) -> f64 {
    let mean = candles.iter().map(|c| c.volume).sum::<f64>() / candles.len() as f64;
    let hour = &candles[candles.len().saturating_sub(HOUR + 1)..];
    let signed: f64 = hour.windows(2).map(|pair| pair[1].volume * direction(pair[0].close, pair[1].close)).sum();
    let push = share(signed, mean * HOUR as f64);
    50.0 + 50.0 * push / (1.0 + push.abs())
}

/// The mean of two views: where the last close stands in the range of `candles`, and whether the last hour made a higher
/// high and a higher low than the hour before it.
pub fn price_structure(candles: &[Candle]) -> f64 {
    let (high, low) = (highest(candles), lowest(candles));
    let position = match candles.last() {
        Some(last) if high > low => (last.close - low) / (high - low) * 100.0,
        _ => 50.0,
    };
    let (before, hour) = candles.split_at(candles.len().saturating_sub(HOUR));
    let before = &before[before.len().saturating_sub(HOUR)..];
    let steps = direction(highest(before), highest(hour)) + direction(lowest(before), lowest(hour));
    (position + 50.0 + 25.0 * steps) / 2.0
}

/// The highest price in `candles`.
pub fn highest(candles: &[Candle]) -> f64 {
    candles.iter().map(|c| c.high).fold(f64::NEG_INFINITY, f64::max)
}

/// The lowest price in `candles`.
pub fn lowest(candles: &[Candle]) -> f64 {
    candles.iter().map(|c| c.low).fold(f64::INFINITY, f64::min)
}

/// Wilder's relative strength index: the share of upward movement in all movement, smoothed over `span` steps.
pub fn rsi(closes: &[f64], span: usize) -> f64 {
    let moves: Vec<f64> = closes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if moves.len() < span {
        return 50.0;
    }
    let mean = |side: fn(f64) -> f64| {
        let (first, rest) = moves.split_at(span);
        let start = first.iter().map(|m| side(*m)).sum::<f64>() / span as f64;
        rest.iter().fold(start, |mean, m| (mean * (span - 1) as f64 + side(*m)) / span as f64)
    };
    let (gain, loss) = (mean(|m| m.max(0.0)), mean(|m| (-m).max(0.0)));
    if gain + loss > 0.0 { gain / (gain + loss) * 100.0 } else { 50.0 }
}

/// How far EMA(12) is above EMA(26), against how far it would be if every recent step had gone up.
///
/// An average lags a steady climb by half its span, so the two are then half the difference of their spans apart.
fn ema_position(closes: &[f64]) -> f64 {
    let recent = &closes[closes.len().saturating_sub(SLOW_SPAN + 1)..];
    let moved: f64 = recent.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    let step = share(moved, recent.len().saturating_sub(1) as f64);
    let steady_climb = step * (SLOW_SPAN - FAST_SPAN) as f64 / 2.0;
    let gap = ema(closes, FAST_SPAN) - ema(closes, SLOW_SPAN);
    50.0 + 50.0 * share(gap, steady_climb).clamp(-1.0, 1.0)
}

/// Exponential moving average; it starts from the first close.
fn ema(closes: &[f64], span: usize) -> f64 {
    let weight = 2.0 / (span as f64 + 1.0);
    closes.iter().copied().reduce(|mean, close| mean + weight * (close - mean)).unwrap_or(0.0)
}

/// 1 up, -1 down, 0 neither (or one side is empty).
fn direction(from: f64, to: f64) -> f64 {
    if !from.is_finite() || !to.is_finite() || from == to { 0.0 } else { (to - from).signum() }
}

/// `part` of `whole`; nothing of nothing is nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candles(closes: &[f64], volume: f64) -> Vec<Candle> {
        closes.iter().map(|&close| Candle { high: close + 1.0, low: close - 1.0, close, volume }).collect()
    }

    #[track_caller]
    fn check(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 0.01, "{actual} is not {expected}");
    }

    #[test]
    fn rsi_of_the_textbook_series() {
        // The worked example that charting schools publish for RSI(14), from 44.34 on.
        let closes = [
            44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328,
            45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122,
        ];
        check(rsi(&closes[..15], 14), 70.53);
        check(rsi(&closes[..16], 14), 66.32);
        check(rsi(&closes, 14), 62.93);
    }

    #[test]
    fn a_steady_climb_is_the_highest_and_a_steady_fall_the_lowest() {
        let up: Vec<f64> = (0..200).map(|i| 100.0 + f64::from(i)).collect();
        let down: Vec<f64> = up.iter().rev().copied().collect();
        check(technical(&up), 100.0);
        check(technical(&down), 0.0);
        check(price_structure(&candles(&up, 1.0)), (100.0 * 200.0 / 201.0 + 100.0) / 2.0);
        check(price_structure(&candles(&down, 1.0)), (100.0 / 201.0) / 2.0);
    }

    #[test]
    fn usual_volume_on_one_side_is_a_quarter_and_a_rush_is_more() {
        let up: Vec<f64> = (0..100).map(f64::from).collect();
        let mut candles = candles(&up, 2.0);
        check(volume(&candles), 75.0);
        candles.iter_mut().rev().take(12).for_each(|c| c.volume = 20.0);
        assert!(volume(&candles) > 80.0);
        candles.reverse();
        assert!(volume(&candles) < 50.0);
    }

    #[test]
    fn nothing_to_see_is_50() {
        let flat = candles(&[7.0; 40], 0.0);
        check(technical(&[7.0; 40]), 50.0);
        check(volume(&flat), 50.0);
        check(price_structure(&flat), 50.0);
        check(technical(&[]), 50.0);
    }
}
