//! The demo's producer: real five-minute candles, replayed as signals in a loop.
//!
//! [`Candles`] holds three days of 31 USDT pairs (3 to 5 August 2024, the crash of the 5th among them): Binance spot
//! prices, as redistributed by imsatoshi/GeneTrader (MIT, see `NOTICE` beside this file). [`Feed`] walks through them one step at a time.
//! The first day is history, so that every step knows its exact 24-hour change, range and volume.
//!
//! The demo invents nothing. Scores are computed from candles by the formulas in `indicators`; what candles cannot tell
//! (order book, order flow, sentiment) is absent from a signal, and its reliability says so.

mod candles;
mod indicators;
mod replay;

use serde_json::{Value, json};

pub use candles::{Candle, Candles, CandlesError, DAY, Series};
pub use replay::replay;

/// How many components a full analysis has; the share that is present is a signal's reliability.
const COMPONENTS: f64 = 6.0;
/// Scores from here on are LONG.
const LONG: f64 = 70.0;
/// Scores down from here are SHORT.
const SHORT: f64 = 35.0;

/// Replays candles as signals, for ever.
#[derive(Debug)]
pub struct Feed {
    candles: Candles,
    next: usize,
}

// === impl Feed ===

impl Feed {
    /// A feed that starts with the first step that has a whole day behind it.
    pub fn new(candles: Candles) -> Self {
        Self { candles, next: DAY }
    }

    /// The next step's signals, one for each symbol, all stamped `now_micros`. After the last step follows the first again.
    pub fn next_step(&mut self, now_micros: u64) -> Vec<Value> {
        let step = self.next;
        self.next = if step + 1 < self.candles.steps() { step + 1 } else { DAY };
        // The window is a day and the candle before it, whose close the day's change is measured against.
        let window = step - DAY..=step;
        self.candles.series().iter().map(|s| signal(&s.symbol, &s.candles[window.clone()], now_micros)).collect()
    }

    /// How many steps pass before the feed starts over.
    pub fn steps(&self) -> usize {
        self.candles.steps() - DAY
    }
}

/// What an analyser would say about the last candle of `window`, which holds [`DAY`] candles after its first.
fn signal(symbol: &str, window: &[Candle], now_micros: u64) -> Value {
    let closes: Vec<f64> = window.iter().map(|c| c.close).collect();
    let day = &window[1..];
    let (first, price) = (closes[0], closes[closes.len() - 1]);

    let technical = indicators::technical(&closes);
    let volume = indicators::volume(window);
    let price_structure = indicators::price_structure(day);
    let components = [technical, volume, price_structure];
    let present = components.len() as f64;
    let score = components.iter().sum::<f64>() / present;

    json!({
        "symbol": symbol,
        "timestamp": now_micros as f64 / 1e6,
        "price": price,
        "change_24h": rounded((price / first - 1.0) * 100.0, 4),
        "high_24h": indicators::highest(day),
        "low_24h": indicators::lowest(day),
        "volume_24h": rounded(day.iter().map(|c| c.volume).sum(), 4),
        "turnover_24h": rounded(day.iter().map(|c| c.close * c.volume).sum(), 2),
        "confluence_score": rounded(score, 2),
        "signal_type": if score >= LONG { "LONG" } else if score <= SHORT { "SHORT" } else { "NEUTRAL" },
        "reliability": present / COMPONENTS,
        "components": {
            "technical": rounded(technical, 2),
            "volume": rounded(volume, 2),
            "price_structure": rounded(price_structure, 2),
        },
    })
}

/// `value` to so many decimal places.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed::new(Candles::load().unwrap())
    }

    fn of<'a>(step: &'a [Value], symbol: &str) -> &'a Value {
        step.iter().find(|s| s["symbol"] == symbol).unwrap()
    }

    /// A day that starts at 100 and moves by `drift` a step, with quiet volume.
    fn drifting(drift: f64) -> Vec<Candle> {
        (0..=DAY)
            .map(|i| {
                let close = 100.0 + drift * i as f64;
                Candle { high: close + 0.01, low: close - 0.01, close, volume: 5.0 }
            })
            .collect()
    }

    #[test]
    fn a_step_has_one_signal_of_every_symbol() {
        let step = feed().next_step(1_700_000_000_500_000);
        let mut symbols: Vec<_> = step.iter().map(|s| s["symbol"].as_str().unwrap()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), 31);
        assert!(step.iter().all(|s| s["timestamp"] == 1_700_000_000.5));
    }

    #[test]
    fn the_first_step_matches_the_recorded_day() {
        let candles = Candles::load().unwrap();
        let btc = candles.series().iter().find(|s| s.symbol == "BTCUSDT").unwrap().candles.clone();
        let step = Feed::new(candles).next_step(0);
        let signal = of(&step, "BTCUSDT");
        assert_eq!(signal["price"], btc[DAY].close);
        assert_eq!(signal["change_24h"], rounded((btc[DAY].close - btc[0].close) / btc[0].close * 100.0, 4));
        let highest = btc[1..=DAY].iter().map(|c| c.high).max_by(f64::total_cmp).unwrap();
        assert_eq!(signal["high_24h"], highest);
    }

    #[test]
    fn what_candles_cannot_tell_is_absent() {
        let step = feed().next_step(0);
        for signal in &step {
            let names: Vec<_> = signal["components"].as_object().unwrap().keys().collect();
            assert_eq!(names.len(), 3, "{names:?}");
            assert_eq!(signal["reliability"], 0.5);
        }
    }

    #[test]
    fn a_rising_day_is_long_and_a_falling_day_is_short() {
        let (up, down) = (signal("UPUSDT", &drifting(0.1), 0), signal("DOWNUSDT", &drifting(-0.1), 0));
        assert_eq!(up["signal_type"], "LONG", "{up}");
        assert_eq!(down["signal_type"], "SHORT", "{down}");
        assert_eq!(signal("FLATUSDT", &drifting(0.0), 0)["confluence_score"], 50.0);
    }

    #[test]
    fn the_feed_starts_over_and_every_number_of_the_loop_is_sane() {
        let mut feed = feed();
        let first = feed.next_step(0);
        let mut step = first.clone();
        for _ in 0..feed.steps() {
            for signal in &step {
                // A number that is not finite becomes null in JSON, so reading it as one shows that it is.
                let number = |name: &str| signal[name].as_f64().unwrap_or_else(|| panic!("{name} of {signal}"));
                assert!((0.0..=100.0).contains(&number("confluence_score")), "{signal}");
                assert!(number("low_24h") <= number("price") && number("price") <= number("high_24h"), "{signal}");
                assert!(number("change_24h").abs() < 60.0 && number("turnover_24h") > 0.0, "{signal}");
            }
            step = feed.next_step(0);
        }
        assert_eq!(step, first);
    }

    #[test]
    fn the_crash_is_seen() {
        let mut feed = feed();
        let worst = (0..feed.steps())
            .map(|_| of(&feed.next_step(0), "BTCUSDT")["change_24h"].as_f64().unwrap())
            .min_by(f64::total_cmp)
            .unwrap();
        assert!(worst < -15.0, "{worst}");
    }
}
