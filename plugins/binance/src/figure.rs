//! A number as Binance writes it: a string of digits, so that no reader rounds it. A JSON number is read as well.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A finite number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure(pub(crate) f64);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FigureVisitor)
    }
}

struct FigureVisitor;

impl Visitor<'_> for FigureVisitor {
    type Value = Figure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a finite number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Figure, E> {
        let finite = text.parse().ok().filter(|number: &f64| number.is_finite());
        finite.map(Figure).ok_or_else(|| E::custom("a number is not finite or not a number"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Figure, E> {
        Ok(Figure(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Figure, E> {
        Ok(Figure(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Figure, E> {
        Ok(Figure(number as f64))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}
