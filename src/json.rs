//! Is this text one JSON object that every reader understands alike?
//!
//! RFC 8259 §4 leaves the meaning of repeated member names open: one reader takes the first, another the last. What
//! decides about access must not depend on that, so an object with a repeated name is refused, at every level.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::failure::printable;

/// Deepest nesting that is read; answers and claims have three or four levels, and the recursion must end.
pub const MAX_DEPTH: usize = 32;

/// The members of a JSON object; no name is repeated, here or deeper.
pub type Object = serde_json::Map<String, Value>;

/// Why a text is not such an object. None of these repeats content, apart from the name of a repeated member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Some bytes are not UTF-8 (RFC 8259 §8.1).
    #[error("not UTF-8")]
    NotUtf8,
    /// It is not JSON, or holds a number no reader can represent.
    #[error("not valid JSON at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A member name occurs twice in one object.
    #[error("member \"{name}\" occurs more than once")]
    Duplicate {
        /// The name, escaped and shortened.
        name: String,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It is JSON, and something else than an object.
    #[error("not a JSON object")]
    NotObject,
}

/// Parses `text`, which must be one JSON object; white space around it is allowed, a byte order mark is not.
pub fn object(text: &[u8]) -> Result<Object, JsonError> {
    let text = std::str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;
    let refusal = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { depth: 0, refusal: &refusal };
    let value = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonError::NotObject),
        Err(error) => {
            Err(refusal.into_inner().unwrap_or(JsonError::Syntax { line: error.line(), column: error.column() }))
        }
    }
}

/// `object` as a compact text.
pub fn text(object: &Object) -> String {
    // Nothing in it can fail to be written: its names are strings.
    serde_json::to_string(object).unwrap_or_default()
}

/// Builds a [`Value`], refusing what [`JsonError`] names.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// Containers around the value being read.
    depth: usize,
    /// The reason, where it is ours and not the parser's.
    refusal: &'a RefCell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(&self, reason: JsonError) -> E {
        let error = E::custom(&reason);
        *self.refusal.borrow_mut() = Some(reason);
        error
    }

    fn inside<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = printable(name.as_bytes());
                return Err(self.refuse(JsonError::Duplicate { name }));
            }
            let value = members.next_value_seed(inside)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn duplicate(name: &str) -> JsonError {
        JsonError::Duplicate { name: name.to_owned() }
    }

    #[test]
    fn refused() {
        let table: &[(&[u8], JsonError)] = &[
            (b"{\"a\":\"\xff\"}", JsonError::NotUtf8),
            (b"{\"a\":1,\"a\":1}", duplicate("a")),
            (b"{\"active\":false,\"active\":true}", duplicate("active")),
            // names are compared as read, not as written
            (b"{\"active\":false,\"\\u0061ctive\":true}", duplicate("active")),
            (b"{\"x\":{\"b\":1,\"c\":2,\"b\":3}}", duplicate("b")),
            (b"{\"x\":[1,{\"\":1,\"\":2}]}", duplicate("")),
            (b"{\"\\n\":1,\"\\n\":1}", duplicate("\\x0a")),
            (b"[]", JsonError::NotObject),
            (b"true", JsonError::NotObject),
            (b"\"{}\"", JsonError::NotObject),
            (b"", JsonError::Syntax { line: 1, column: 0 }),
            (b"{\"a\":1", JsonError::Syntax { line: 1, column: 6 }),
            (b"{}{}", JsonError::Syntax { line: 1, column: 3 }),
            (b"{} x", JsonError::Syntax { line: 1, column: 4 }),
            (b"{\"a\":1,}", JsonError::Syntax { line: 1, column: 8 }),
            (b"{\"a\":NaN}", JsonError::Syntax { line: 1, column: 6 }),
            (b"{'a':1}", JsonError::Syntax { line: 1, column: 2 }),
        ];
        for (text, expected) in table {
            let name = String::from_utf8_lossy(text);
            assert_eq!(object(text).unwrap_err(), *expected, "{name}");
        }
        for text in ["{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\n\"}", "<html>", "\u{feff}{}"] {
            let error = object(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Syntax { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn read() {
        let text = br#" {"n":null,"b":true,"i":-1,"u":18446744073709551615,"f":1.5,"s":"\u00e9","a":[1,"x"],
            "o":{"n":{"n":1}}} "#;
        let expected: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(Value::Object(object(text).unwrap()), expected);
        assert_eq!(object(b"{}").unwrap().len(), 0);
        // the same name in different objects is no repetition
        assert!(object(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn depth() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
            object(format!("{{\"a\":{open}{close}}}").as_bytes())
        };
        assert!(nested(2).is_ok());
        assert!(nested(MAX_DEPTH).is_ok());
        assert_eq!(nested(MAX_DEPTH + 1), Err(JsonError::TooDeep));
        assert_eq!(nested(30_000), Err(JsonError::TooDeep));
        let objects = "{\"a\":".repeat(30_000);
        assert_eq!(object(objects.as_bytes()), Err(JsonError::TooDeep));
    }
}
