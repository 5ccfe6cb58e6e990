//! A statement: SQL text and the values bound to it.

use bytes::Bytes;

/// A value that SQLite can store; NULL is `Option::None`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// A 64-bit signed integer.
    #[prost(sint64, tag = "1")]
    Integer(i64),
    /// An IEEE 754 double, bit for bit.
    #[prost(double, tag = "2")]
    Real(f64),
    /// Text, always valid UTF-8.
    #[prost(string, tag = "3")]
    Text(String),
    /// Bytes.
    #[prost(bytes = "bytes", tag = "4")]
    Blob(Bytes),
}

/// One supplied value: positional when `name` is empty.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Parameter {
    /// The name without its prefix character; empty for a positional value.
    #[prost(string, tag = "5")]
    pub name: String,
    /// The value; `None` is NULL.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub value: Option<Value>,
}

/// SQL text (possibly several statements, run as one unit) and its parameters, in the order in which they were given.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Statement {
    /// The text as the client sent it.
    #[prost(string, tag = "1")]
    pub sql: String,
    /// The values; each member of a named-parameter object takes one place.
    #[prost(message, repeated, tag = "2")]
    pub parameters: Vec<Parameter>,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Vec::new(),
        }
    }
}

impl Parameter {
    /// A positional value.
    pub fn positional(value: impl Into<Option<Value>>) -> Self {
        Self {
            name: String::new(),
            value: value.into(),
        }
    }

    /// A named value; `name` is given without its prefix character.
    pub fn named(name: impl Into<String>, value: impl Into<Option<Value>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}
