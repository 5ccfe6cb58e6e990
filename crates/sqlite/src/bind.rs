//! Which value goes to which parameter (spec §4.4).
//!
//! Owns the rules; holds no value. A text may hold several statements: each takes as many values as it has parameters,
//! from left to right, and named values outside of that window are offered to it as well.
//!
//! ```text
//!  values      7     {"a":1}   "x"   {"b":2}
//!              └─ window of ─┘
//!               a statement with two parameters: 7 → 1st, a → :a @a $a; b is offered too
//! ```

use command::rows::CellRef;
use command::statement::{Parameter, Value};

use crate::ffi::statement::{Execution, StatementError};

/// The characters that may stand before a parameter's name.
const PREFIXES: [char; 3] = [':', '@', '$'];

/// What the text of a shortage counts as `got`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// The values that earlier statements of the text left: reads.
    Left,
    /// All values supplied: writes.
    Supplied,
}

/// The values of one text, handed to its statements in turn.
#[derive(Clone, Debug)]
pub struct Bindings<'v> {
    values: &'v [Parameter],
    /// Values taken by earlier statements of the text.
    taken: usize,
    got: Got,
}

/// Something with parameters: an [`Execution`], or rusqlite's statement.
pub trait Bind<'v> {
    /// The largest parameter index.
    fn parameter_count(&self) -> usize;
    /// The index, from 1, of a name given with its prefix character.
    fn parameter_index(&self, name: &str) -> Option<usize>;
    /// Binds to a parameter that exists.
    ///
    /// # Errors
    ///
    /// SQLite's, such as `string or blob too big`.
    fn bind(&mut self, index: usize, value: CellRef<'v>) -> Result<(), StatementError>;
}

impl<'v> Bindings<'v> {
    /// Checks the names, and starts at the first value.
    ///
    /// # Errors
    ///
    /// `name ":n" does not begin with a letter`: keys are given without the prefix character.
    pub fn new(values: &'v [Parameter], got: Got) -> Result<Self, StatementError> {
        let badly_named = |value: &&Parameter| value.name.chars().next().is_some_and(|first| !first.is_alphabetic());
        if let Some(value) = values.iter().find(badly_named) {
            return Err(StatementError::new(format!(
                "name {:?} does not begin with a letter",
                value.name
            )));
        }
        Ok(Self { values, taken: 0, got })
    }

    /// Binds the next statement of the text, and takes its values.
    ///
    /// A parameter that nothing is bound to is NULL; surplus values are left for the next statement.
    ///
    /// # Errors
    ///
    /// `not enough args to execute query: want N got M`, or what SQLite says against a value.
    pub fn bind<'e>(&mut self, target: &mut impl Bind<'e>) -> Result<(), StatementError>
    where
        'v: 'e,
    {
        let wanted = target.parameter_count();
        let left = self.values.len() - self.taken;
        if left < wanted {
            let got = match self.got {
                Got::Left => left,
                Got::Supplied => self.values.len(),
            };
            return Err(StatementError::new(format!(
                "not enough args to execute query: want {wanted} got {got}"
            )));
        }
        let window = self.taken..self.taken + wanted;
        self.taken = window.end;
        for (position, value) in self.values[window.clone()].iter().enumerate() {
            if value.name.is_empty() {
                target.bind(position + 1, cell(value))?;
            } else {
                bind_named(target, value)?;
            }
        }
        let outside = self.values[..window.start].iter().chain(&self.values[window.end..]);
        for value in outside.filter(|value| !value.name.is_empty()) {
            bind_named(target, value)?;
        }
        Ok(())
    }
}

impl<'v> Bind<'v> for Execution<'v> {
    fn parameter_count(&self) -> usize {
        Execution::parameter_count(self)
    }

    fn parameter_index(&self, name: &str) -> Option<usize> {
        Execution::parameter_index(self, name)
    }

    fn bind(&mut self, index: usize, value: CellRef<'v>) -> Result<(), StatementError> {
        Execution::bind(self, index, value)
    }
}

/// A parameter's value as a cell.
pub fn cell(parameter: &Parameter) -> CellRef<'_> {
    match &parameter.value {
        None => CellRef::Null,
        Some(Value::Integer(value)) => CellRef::Integer(*value),
        Some(Value::Real(value)) => CellRef::Real(*value),
        Some(Value::Text(text)) => CellRef::Text(text.as_bytes()),
        Some(Value::Blob(bytes)) => CellRef::Blob(bytes),
    }
}

fn bind_named<'v>(target: &mut impl Bind<'v>, value: &'v Parameter) -> Result<(), StatementError> {
    let mut name = String::with_capacity(value.name.len() + 1);
    for prefix in PREFIXES {
        name.clear();
        name.push(prefix);
        name.push_str(&value.name);
        if let Some(index) = target.parameter_index(&name) {
            target.bind(index, cell(value))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
