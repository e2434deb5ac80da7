//! The market regime label, such as `Neutral: Consolidation`: 25 labels by a table of rules.
//!
//! An input that is unknown counts as its neutral value for the label, and is never published as a number.

/// What the label is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs {
    /// Mean confluence score.
    pub score: f64,
    /// Symbols that rose and that fell.
    pub gainers_losers: Option<(f64, f64)>,
    /// Fear and greed index.
    pub fear_greed: Option<f64>,
    /// Dispersion of the percent changes.
    pub dispersion: Option<f64>,
    /// Change of Bitcoin's dominance, in percentage points.
    pub dominance_change: Option<f64>,
}

/// How volatile a dispersion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Up to 8.
    Normal,
    /// Over 8.
    Elevated,
    /// Over 15.
    High,
}

impl Volatility {
    /// The level of a dispersion.
    pub fn of(dispersion: f64) -> Self {
        match dispersion {
            d if d > 15.0 => Self::High,
            d if d > 8.0 => Self::Elevated,
            _ => Self::Normal,
        }
    }

    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
        }
    }
}

/// The change from a previous dominance to the current one. A previous value of 0 is none.
pub fn dominance_change(current: Option<f64>, previous: Option<f64>) -> Option<f64> {
    Some(current? - previous.filter(|previous| *previous > 0.0)?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    StrongBullish,
    Bullish,
    Neutral,
    Bearish,
    StrongBearish,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Breadth {
    Broad,
    Mixed,
    Narrow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    ExtremeGreed,
    Greed,
    Neutral,
    Fear,
    ExtremeFear,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Btc {
    Rising,
    Stable,
    Falling,
}

/// The label for `inputs`.
pub fn label(inputs: &Inputs) -> String {
    let direction = direction(inputs.score);
    let category = match direction {
        Direction::StrongBullish => "Strong Bullish",
        Direction::Bullish => "Bullish",
        Direction::Neutral => "Neutral",
        Direction::Bearish => "Bearish",
        Direction::StrongBearish => "Strong Bearish",
    };
    let volatility = inputs.dispersion.map_or(Volatility::Normal, Volatility::of);
    let name = name(
        direction,
        breadth(inputs.gainers_losers),
        mood(inputs.fear_greed),
        volatility,
        btc(inputs.dominance_change),
    );
    format!("{category}: {name}")
}

/// The table. Within a direction the first rule that matches decides.
fn name(direction: Direction, breadth: Breadth, mood: Mood, volatility: Volatility, btc: Btc) -> &'static str {
    use Direction::{Bearish, Bullish, Neutral, StrongBearish, StrongBullish};
    let greedy = matches!(mood, Mood::Greed | Mood::ExtremeGreed);
    let fearful = matches!(mood, Mood::Fear | Mood::ExtremeFear);
    if volatility == Volatility::High {
        return match direction {
            StrongBullish | Bullish => "Volatile Rally",
            Neutral => "Choppy Waters",
            Bearish | StrongBearish => "Volatile Selloff",
        };
    }
    match (direction, breadth) {
        (StrongBullish, Breadth::Broad) if greedy => "Euphoric Rally",
        (StrongBullish, Breadth::Broad) => "Broad Rally",
        (StrongBullish, Breadth::Narrow) => "Selective Strength",
        (StrongBullish, _) => "Bullish Momentum",
        (Bullish, Breadth::Broad) if btc == Btc::Falling => "Alt Season",
        (Bullish, Breadth::Broad) => "Risk-On",
        (Bullish, _) if fearful => "Accumulation Zone",
        (Bullish, _) => "Mild Uptrend",
        (StrongBearish, Breadth::Narrow) if mood == Mood::ExtremeFear => "Capitulation",
        (StrongBearish, Breadth::Narrow) => "Broad Selloff",
        (StrongBearish, _) if btc == Btc::Rising => "Flight to BTC",
        (StrongBearish, _) => "Bearish Momentum",
        (Bearish, _) if greedy => "Distribution Zone",
        (Bearish, Breadth::Narrow) => "Risk-Off",
        (Bearish, _) => "Mild Downtrend",
        (Neutral, _) if volatility == Volatility::Elevated => "Choppy Range",
        (Neutral, Breadth::Broad) if greedy => "Topping Formation",
        (Neutral, Breadth::Narrow) if fearful => "Bottoming Formation",
        (Neutral, _) if btc == Btc::Falling => "Alt Accumulation",
        (Neutral, _) => "Consolidation",
    }
}

fn direction(score: f64) -> Direction {
    match score {
        s if s >= 70.0 => Direction::StrongBullish,
        s if s >= 60.0 => Direction::Bullish,
        s if s <= 30.0 => Direction::StrongBearish,
        s if s <= 40.0 => Direction::Bearish,
        _ => Direction::Neutral,
    }
}

/// Counts that are known and 0 are narrow, as in the producers' rule; counts that are unknown are neither.
fn breadth(gainers_losers: Option<(f64, f64)>) -> Breadth {
    let Some((gainers, losers)) = gainers_losers else { return Breadth::Mixed };
    let total = gainers + losers;
    match if total > 0.0 { gainers / total } else { 0.0 } {
        ratio if ratio >= 0.6 => Breadth::Broad,
        ratio if ratio <= 0.3 => Breadth::Narrow,
        _ => Breadth::Mixed,
    }
}

fn mood(fear_greed: Option<f64>) -> Mood {
    match fear_greed {
        Some(index) if index >= 75.0 => Mood::ExtremeGreed,
        Some(index) if index >= 55.0 => Mood::Greed,
        Some(index) if index <= 25.0 => Mood::ExtremeFear,
        Some(index) if index <= 45.0 => Mood::Fear,
        _ => Mood::Neutral,
    }
}

fn btc(dominance_change: Option<f64>) -> Btc {
    match dominance_change {
        Some(change) if change > 1.0 => Btc::Rising,
        Some(change) if change < -1.0 => Btc::Falling,
        _ => Btc::Stable,
    }
}
