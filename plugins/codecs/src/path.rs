//! JSON paths such as `$.signals[3].price`, built only when something has to be reported.

use std::fmt::{self, Display, Formatter};

/// The greatest number of characters of a field name in a path; names come from payloads and may be of any length.
const LONGEST_NAME: usize = 48;

/// A place in a document, as a chain of steps that lives on the stack.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(crate) fn field(&'p self, name: &'p str) -> Self {
        Self::Field(self, name)
    }

    pub(crate) fn item(&'p self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Field(parent, name) => write!(f, "{parent}{}", Name(name)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// One field as a step of a path: `.price`, or `["a b"]` where the name is not a plain word.
pub(crate) struct Name<'n>(pub(crate) &'n str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, more) = match self.0.char_indices().nth(LONGEST_NAME) {
            Some((end, _)) => (&self.0[..end], "..."),
            None => (self.0, ""),
        };
        if !name.is_empty() && name.chars().all(plain) {
            write!(f, ".{name}{more}")
        } else {
            write!(f, "[\"{}{more}\"]", name.escape_debug())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_path_reads_as_json_path() {
        let list = Path::Root.field("signals");
        let record = list.item(3);
        assert_eq!(record.field("price").to_string(), "$.signals[3].price");
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_quoted_and_a_long_one_is_cut() {
        assert_eq!(Path::Root.field("a b").to_string(), r#"$["a b"]"#);
        assert_eq!(Path::Root.field("").to_string(), r#"$[""]"#);
        assert!(Path::Root.field(&"x".repeat(5000)).to_string().len() < 100);
    }
}
