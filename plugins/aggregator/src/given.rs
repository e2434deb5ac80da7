//! [`Given`]: the fields of one signal, those that mean something each in a place of its own.
//!
//! Signals come by the hundred thousand: a general map of their fields costs more than all that is done with them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::number;

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A field that means something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($field),* }

        impl Field {
            const COUNT: usize = [$(Self::$field),*].len();

            fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$field),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Symbol = "symbol",
    ConfluenceScore = "confluence_score",
    Score = "score",
    SignalType = "signal_type",
    Sentiment = "sentiment",
    Reliability = "reliability",
    Components = "components",
    SubComponents = "sub_components",
    Interpretations = "interpretations",
    ScoreHistory = "score_history",
    Timestamp = "timestamp",
    MarketData = "market_data",
    Price = "price",
    Change24h = "change_24h",
    PriceChangePercent = "price_change_percent",
    PriceChangePercent24h = "price_change_percent_24h",
    Volume24h = "volume_24h",
    Volume = "volume",
    Turnover24h = "turnover_24h",
    High24h = "high_24h",
    Low24h = "low_24h",
}

/// What a producer gave. Of a field that it gave twice the last counts.
#[derive(Debug, Default, PartialEq)]
pub struct Given {
    known: [Option<Value>; Field::COUNT],
    /// The fields to pass on: neither known here, nor the metadata of a document, nor what this plugin states itself.
    pub extra: Map<String, Value>,
}

/// What is done with a field.
enum Place {
    Known(Field),
    Extra(String),
    Dropped,
}

// === impl Given ===

impl Given {
    /// Takes a field out.
    pub fn take(&mut self, field: Field) -> Option<Value> {
        self.known[field as usize].take()
    }

    /// The first number among `fields`.
    pub fn number(&self, fields: &[Field]) -> Option<f64> {
        fields.iter().find_map(|field| self.known[*field as usize].as_ref().and_then(number::read))
    }
}

impl From<Map<String, Value>> for Given {
    fn from(fields: Map<String, Value>) -> Self {
        let mut given = Self::default();
        for (name, value) in fields {
            match Place::of(&name) {
                Place::Known(field) => given.known[field as usize] = Some(value),
                Place::Extra(name) => drop(given.extra.insert(name, value)),
                Place::Dropped => {}
            }
        }
        given
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Given, A::Error> {
                let mut given = Given::default();
                while let Some(place) = fields.next_key()? {
                    match place {
                        Place::Known(field) => given.known[field as usize] = Some(fields.next_value()?),
                        Place::Extra(name) => drop(given.extra.insert(name, fields.next_value()?)),
                        Place::Dropped => drop(fields.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(given)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

// === impl Place ===

impl Place {
    fn of(name: &str) -> Self {
        match Field::of(name) {
            Some(field) => Self::Known(field),
            None if name.starts_with("__") || ["datetime", "has_breakdown", "high_quality"].contains(&name) => {
                Self::Dropped
            }
            None => Self::Extra(name.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Place, E> {
                Ok(Place::of(name))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "symbol",
            "score",
            "components",
            "market_data",
            "low_24h",
            "datetime",
            "__x",
            "venue",
            "note",
        ])
    }

    fn value() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["1.5", "\"a\\u00e9\"", "null", "{\"score\": 3, \"b\": [1, {}]}", "[1, 2]", "true"])
    }

    proptest! {
        #[test]
        fn the_fields_are_the_same_by_way_of_a_general_map(fields in prop::collection::vec((name(), value()), 0..12)) {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let body = format!("{{{}}}", fields.join(", "));
            let map: Map<String, Value> = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(serde_json::from_str::<Given>(&body).unwrap(), Given::from(map), "{}", body);
        }
    }
}
