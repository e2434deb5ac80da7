//! A JSON document as a tree that borrows from its text and keeps its fields in their order.
//!
//! Most payloads are only looked at, so a field costs no copy: names and strings point into the text unless they hold
//! escapes. A field that is given twice counts once, with its last value; how often that happened is part of the answer.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Number;

/// The greatest depth of lists and objects in each other. Real documents have about five.
pub(crate) const MAX_DEPTH: u32 = 100;

/// Up to this many fields, comparing every pair of names is faster than sorting them.
const FEW_FIELDS: usize = 32;

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

impl Json<'_> {
    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub(crate) fn object(&self) -> Option<&Object<'_>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// What it is, in a word for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// A finite number as JSON. Anything else has no JSON form and becomes null.
impl From<f64> for Json<'_> {
    fn from(value: f64) -> Self {
        Number::from_f64(value).map_or(Self::Null, Self::Number)
    }
}

/// Fields in the order in which they came, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The fields without those that a later field of the same name replaces, and how many were replaced.
    pub(crate) fn of(mut fields: Vec<(Cow<'a, str>, Json<'a>)>) -> (Self, usize) {
        let few = fields.len() <= FEW_FIELDS;
        if few && !fields.iter().enumerate().any(|(i, (name, _))| fields[..i].iter().any(|(other, _)| other == name)) {
            return (Self(fields), 0);
        }
        let mut seen = BTreeSet::new();
        let mut last: Vec<bool> = fields.iter().rev().map(|(name, _)| seen.insert(name.as_ref())).collect();
        let before = fields.len();
        fields.retain(|_| last.pop().unwrap_or(true));
        let replaced = before - fields.len();
        (Self(fields), replaced)
    }

    /// An object with a single field.
    pub(crate) fn single(name: &'static str, value: Json<'a>) -> Self {
        Self(vec![(Cow::Borrowed(name), value)])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Json<'a>)> {
        self.0.iter_mut().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn into_fields(self) -> Vec<(Cow<'a, str>, Json<'a>)> {
        self.0
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Json<'a>> {
        self.0.iter_mut().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The value of a field that is there and not null.
    pub(crate) fn given(&self, name: &str) -> Option<&Json<'a>> {
        self.get(name).filter(|value| **value != Json::Null)
    }

    /// Replaces the field in its place, or adds it at the end.
    pub(crate) fn set(&mut self, name: &'static str, value: Json<'a>) {
        match self.get_mut(name) {
            Some(old) => *old = value,
            None => self.0.push((Cow::Borrowed(name), value)),
        }
    }

    /// Takes the field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Json<'a>> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(index).1)
    }

    /// Gives the value of `from` the name `to`, in its place, unless `to` has a value of its own. Tells whether it did.
    pub(crate) fn rename(&mut self, from: &str, to: &'static str) -> bool {
        if self.given(from).is_none() || self.given(to).is_some() {
            return false;
        }
        self.0.retain(|(name, _)| name != to);
        for (name, _) in &mut self.0 {
            if name == from {
                *name = Cow::Borrowed(to);
            }
        }
        true
    }
}

/// Why a text is not a document.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Not JSON.
    Syntax(serde_json::Error),
}

/// Reads a document. The second part of the answer is the number of fields that were given twice.
pub(crate) fn parse(text: &str) -> Result<(Json<'_>, usize), Fault> {
    let notes = Notes::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = Node { depth: 0, notes: &notes };
    let parsed = node.deserialize(&mut reader).and_then(|json| reader.end().map(|()| json));
    match parsed {
        Ok(json) => Ok((json, notes.replaced.get())),
        Err(_) if notes.too_deep.get() => Err(Fault::TooDeep),
        Err(error) => Err(Fault::Syntax(error)),
    }
}

/// What is noticed while a document is read.
#[derive(Default)]
struct Notes {
    replaced: Cell<usize>,
    too_deep: Cell<bool>,
}

/// Reads one value at a depth.
#[derive(Clone, Copy)]
struct Node<'n> {
    depth: u32,
    notes: &'n Notes,
}

impl Node<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            self.notes.too_deep.set(true);
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(value.into())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let node = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(node)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let node = self.deeper()?;
        let mut fields = Vec::with_capacity(8);
        while let Some(Text(name)) = entries.next_key()? {
            fields.push((name, entries.next_value_seed(node)?));
        }
        let (object, replaced) = Object::of(fields);
        self.notes.replaced.set(self.notes.replaced.get() + replaced);
        Ok(Json::Object(object))
    }
}

/// A string that points into the text where it can.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(object) => serializer.collect_map(object.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, MAX_DEPTH, parse};

    fn written(text: &str) -> (String, usize) {
        let (json, replaced) = parse(text).unwrap();
        (serde_json::to_string(&json).unwrap(), replaced)
    }

    #[test]
    fn fields_keep_their_order_and_numbers_their_value() {
        let text = r#"{"z":1,"a":[-2,0.1,78.40296643405031,118000000000.0,true,null],"m":{"é\n":"x"}}"#;
        assert_eq!(written(text), (text.to_owned(), 0));
    }

    #[test]
    fn of_a_field_given_twice_the_last_value_counts() {
        assert_eq!(written(r#"{"a":1,"b":2,"a":3}"#), (r#"{"b":2,"a":3}"#.to_owned(), 1));
        let many: String = (0..100).map(|i| format!(r#""k{}":{i},"#, i % 50)).collect();
        let (text, replaced) = written(&format!("{{{}}}", many.trim_end_matches(',')));
        assert_eq!(replaced, 50);
        assert!(text.starts_with(r#"{"k0":50,"#), "{text}");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: u32| "[".repeat(depth as usize) + &"]".repeat(depth as usize);
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(parse(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep)));
        assert!(matches!(parse(&"[".repeat(1_000_000)), Err(Fault::TooDeep)));
    }

    #[test]
    fn what_follows_a_document_is_an_error() {
        assert!(matches!(parse("{} {}"), Err(Fault::Syntax(_))));
    }
}
