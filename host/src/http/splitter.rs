//! [`Splitter`]: cuts a stream of signals into single ones, as they arrive.
//!
//! A body that starts with `[` is one JSON array; any other is NDJSON, one value a line. The splitter finds the bounds of the
//! values and no more: whether each is JSON is for its reader to say, so that a bad one costs itself.

use bytes::{Bytes, BytesMut};

/// One value and where it stands in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes before it in the body.
    pub offset: u64,
    /// Its text.
    pub text: Bytes,
}

/// Why the rest of a body cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    #[error("a signal that starts at byte {offset} has more than {limit} bytes")]
    TooLong { offset: u64, limit: usize },
    #[error("the array is malformed at byte {offset}: {what}")]
    Malformed { offset: u64, what: &'static str },
}

/// See the module.
pub(super) struct Splitter {
    limit: usize,
    /// Bytes of the body before `waiting`.
    before: u64,
    /// The value under way, and what has not been looked at yet.
    waiting: BytesMut,
    /// How much of `waiting` has been looked at.
    looked: usize,
    shape: Shape,
}

enum Shape {
    Unknown,
    Lines,
    Array(Array),
}

#[derive(Default)]
struct Array {
    depth: usize,
    in_text: bool,
    escaped: bool,
    ended: bool,
    /// A comma was read, so a value must follow.
    wants_value: bool,
}

// === impl Splitter ===

impl Splitter {
    /// Cuts values of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, before: 0, waiting: BytesMut::new(), looked: 0, shape: Shape::Unknown }
    }

    /// Takes the next bytes of the body and adds every value that is now complete to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Piece>) -> Result<(), SplitError> {
        self.waiting.extend_from_slice(bytes);
        self.cut(out)?;
        if self.waiting.len() > self.limit {
            return Err(SplitError::TooLong { offset: self.before, limit: self.limit });
        }
        Ok(())
    }

    /// Takes the end of the body.
    pub fn end(mut self, out: &mut Vec<Piece>) -> Result<(), SplitError> {
        match &self.shape {
            Shape::Unknown => {}
            Shape::Lines => {
                let length = self.waiting.len();
                self.take(length, 0, out)?;
            }
            Shape::Array(array) if array.ended => {}
            Shape::Array(_) => {
                let offset = self.before + self.waiting.len() as u64;
                return Err(SplitError::Malformed { offset, what: "the body ends within it" });
            }
        }
        Ok(())
    }

    fn cut(&mut self, out: &mut Vec<Piece>) -> Result<(), SplitError> {
        if let Shape::Unknown = self.shape {
            let blank = self.waiting.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.skip(blank);
            match self.waiting.first() {
                None => return Ok(()),
                Some(b'[') => {
                    self.skip(1);
                    self.shape = Shape::Array(Array::default());
                }
                Some(_) => self.shape = Shape::Lines,
            }
        }
        match self.shape {
            Shape::Lines => self.cut_lines(out),
            _ => self.cut_array(out),
        }
    }

    fn cut_lines(&mut self, out: &mut Vec<Piece>) -> Result<(), SplitError> {
        while let Some(end) = memchr::memchr(b'\n', &self.waiting[self.looked..]) {
            let length = self.looked + end;
            self.take(length, 1, out)?;
        }
        self.looked = self.waiting.len();
        Ok(())
    }

    fn cut_array(&mut self, out: &mut Vec<Piece>) -> Result<(), SplitError> {
        while let Some(&byte) = self.waiting.get(self.looked) {
            let offset = self.before + self.looked as u64;
            let Shape::Array(array) = &mut self.shape else { return Ok(()) };
            let malformed = |what| Err(SplitError::Malformed { offset, what });
            if array.ended {
                if !byte.is_ascii_whitespace() {
                    return malformed("something follows its end");
                }
                self.looked += 1;
                continue;
            }
            if array.in_text {
                match (array.escaped, byte) {
                    (true, _) => array.escaped = false,
                    (false, b'\\') => array.escaped = true,
                    (false, b'"') => array.in_text = false,
                    (false, _) => {}
                }
                self.looked += 1;
                continue;
            }
            let bound = match byte {
                b'"' => {
                    array.in_text = true;
                    false
                }
                b'{' | b'[' => {
                    array.depth += 1;
                    false
                }
                b']' | b',' if array.depth == 0 => true,
                b'}' | b']' => {
                    let Some(depth) = array.depth.checked_sub(1) else { return malformed("a brace closes nothing") };
                    array.depth = depth;
                    false
                }
                _ => false,
            };
            if !bound {
                self.looked += 1;
                continue;
            }
            let blank = self.waiting[..self.looked].iter().all(u8::is_ascii_whitespace);
            array.ended = byte == b']';
            if blank && (byte == b',' || array.wants_value) {
                return malformed("a value is missing");
            }
            array.wants_value = byte == b',';
            let length = self.looked;
            self.take(length, 1, out)?;
        }
        Ok(())
    }

    /// Takes the first `length` bytes as a value, unless they are blank, and skips `bound` bytes after it.
    fn take(&mut self, length: usize, bound: usize, out: &mut Vec<Piece>) -> Result<(), SplitError> {
        let blank = self.waiting[..length].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.skip(blank);
        let length = length - blank;
        if length > self.limit {
            return Err(SplitError::TooLong { offset: self.before, limit: self.limit });
        }
        if length > 0 {
            let offset = self.before;
            let mut text = self.waiting.split_to(length);
            self.before += length as u64;
            text.truncate(text.trim_ascii_end().len());
            out.push(Piece { offset, text: text.freeze() });
        }
        self.skip(bound.min(self.waiting.len()));
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        drop(self.waiting.split_to(bytes));
        self.before += bytes as u64;
        self.looked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `body` fed in pieces of every size, which must all give the same.
    fn cut(body: &str) -> Result<Vec<(u64, String)>, SplitError> {
        let run = |size: usize| {
            let mut splitter = Splitter::new(100);
            let mut out = Vec::new();
            for piece in body.as_bytes().chunks(size) {
                splitter.feed(piece, &mut out)?;
            }
            splitter.end(&mut out)?;
            Ok(out.into_iter().map(|piece| (piece.offset, String::from_utf8_lossy(&piece.text).into_owned())).collect())
        };
        let whole = run(body.len().max(1));
        for size in 1..body.len() {
            assert_eq!(run(size), whole, "in pieces of {size}");
        }
        whole
    }

    fn texts(body: &str) -> Vec<String> {
        cut(body).unwrap().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn an_array_and_lines_are_cut_alike_however_they_arrive() {
        assert_eq!(texts(r#"[{"a": "x,]}\""}, {"b": [1, 2]} ]"#), [r#"{"a": "x,]}\""}"#, r#"{"b": [1, 2]}"#]);
        assert_eq!(texts("{\"a\":1}\r\n\n  {\"b\":2}"), [r#"{"a":1}"#, r#"{"b":2}"#]);
        assert_eq!(texts(" [ ] \n"), Vec::<String>::new());
        assert_eq!(texts(""), Vec::<String>::new());
    }

    #[test]
    fn every_value_knows_where_it_stands() {
        assert_eq!(cut("[1, 22,3]").unwrap(), [(1, "1".into()), (4, "22".into()), (7, "3".into())]);
        assert_eq!(cut("1\n 22\n").unwrap(), [(0, "1".into()), (3, "22".into())]);
    }

    #[test]
    fn a_malformed_array_is_refused_with_its_position() {
        let malformed = |body: &str| match cut(body) {
            Err(SplitError::Malformed { offset, .. }) => offset,
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(malformed("[1,,2]"), 3);
        assert_eq!(malformed("[1,]"), 3);
        assert_eq!(malformed("[1}"), 2);
        assert_eq!(malformed("[1] 2"), 4);
        assert_eq!(malformed("[{\"a\":1}"), 8);
    }

    #[test]
    fn a_value_at_the_limit_passes_and_one_byte_more_does_not() {
        let line = |bytes: usize| format!("{}\n", "x".repeat(bytes));
        assert_eq!(texts(&line(100)).len(), 1);
        assert_eq!(cut(&line(101)), Err(SplitError::TooLong { offset: 0, limit: 100 }));
        assert!(matches!(cut(&format!("[{}]", "x".repeat(101))), Err(SplitError::TooLong { .. })));
    }
}
