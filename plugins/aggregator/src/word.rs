//! [`Word`]: the direction of a signal, or the mood about it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One of the seven words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Word {
    Long,
    Short,
    Buy,
    Sell,
    Bullish,
    Bearish,
    Neutral,
}

impl Word {
    const ALL: [Self; 7] =
        [Self::Long, Self::Short, Self::Buy, Self::Sell, Self::Bullish, Self::Bearish, Self::Neutral];

    /// The word that the producer named. Text that names none, the empty text too, is `NEUTRAL`; anything else is nothing.
    pub fn read(value: Option<Value>) -> Option<Self> {
        let Some(Value::String(text)) = value else { return None };
        let text = text.trim();
        Some(Self::ALL.into_iter().find(|word| text.eq_ignore_ascii_case(word.as_str())).unwrap_or(Self::Neutral))
    }

    /// As documents spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "LONG",
            Self::Short => "SHORT",
            Self::Buy => "BUY",
            Self::Sell => "SELL",
            Self::Bullish => "BULLISH",
            Self::Bearish => "BEARISH",
            Self::Neutral => "NEUTRAL",
        }
    }
}
