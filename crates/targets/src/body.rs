//! Request bodies: read as a second reader reads them, which takes its grammar from serde_json; and written and read again.

mod model;

use command::statement::{Parameter, Statement, Value};
use prost::Message;
use quorlited::http::body;
use quorlited::http::json::{Pretty, Writer};
use quorlited::http::number;

use crate::{Meter, bounded};

/// Reads `data` as the body of a request.
pub fn run(data: &[u8], meter: &dyn Meter) {
    let read = bounded(meter, data.len(), || body::statements(data));
    let text = String::from_utf8_lossy(data);
    match model::statements(&text) {
        Some(expected) => assert_eq!(read, expected, "{text}"),
        None => assert!(read.is_err(), "{text}: {read:?}"),
    }
    if let Ok(statements) = read {
        survives_the_log(&statements);
        survives_json(&statements);
    }
}

/// What goes into the log comes out of it.
fn survives_the_log(statements: &[Statement]) {
    for statement in statements {
        let read = Statement::decode(statement.encode_to_vec().as_slice());
        assert_eq!(read.as_ref(), Ok(statement));
    }
}

/// Our own writer's JSON is read as what was written, indented or not.
fn survives_json(statements: &[Statement]) {
    for pretty in [Pretty::No, Pretty::Yes] {
        let mut json = Writer::new(pretty);
        json.begin_array();
        statements.iter().for_each(|statement| write(&mut json, statement));
        json.end_array();
        let text = String::from_utf8_lossy(&json.out);
        let read = body::statements(&json.out).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read.len(), statements.len(), "{text}");
        for (read, written) in read.iter().zip(statements) {
            assert!(is_same(read, written), "{read:?} was written as {written:?}: {text}");
        }
    }
}

fn write(json: &mut Writer, statement: &Statement) {
    json.begin_array();
    json.string(&statement.sql);
    for Parameter { name, value } in &statement.parameters {
        // A nameless member of an object is a positional value.
        if name.is_empty() {
            write_value(json, value.as_ref());
        } else {
            json.begin_object();
            json.key(name);
            write_value(json, value.as_ref());
            json.end_object();
        }
    }
    json.end_array();
}

/// Writes a value as a parameter.
pub fn write_value(json: &mut Writer, value: Option<&Value>) {
    match value {
        None => json.null(),
        Some(Value::Integer(value)) => json.integer(*value),
        Some(Value::Real(value)) => json.value(|out| number::push(out, *value)),
        Some(Value::Text(text)) => json.string(text),
        Some(Value::Blob(bytes)) => {
            json.begin_array();
            bytes.iter().for_each(|byte| json.integer(*byte));
            json.end_array();
        }
    }
}

fn is_same(read: &Statement, written: &Statement) -> bool {
    let mut pairs = read.parameters.iter().zip(&written.parameters);
    read.sql == written.sql
        && read.parameters.len() == written.parameters.len()
        && pairs.all(|(read, written)| {
            read.name == written.name && is_same_value(read.value.as_ref(), written.value.as_ref())
        })
}

/// Equal, but that whole doubles are written without a fraction and so read as integers.
pub fn is_same_value(read: Option<&Value>, written: Option<&Value>) -> bool {
    match (read, written) {
        (Some(Value::Integer(read)), Some(Value::Real(written))) => *read as f64 == *written,
        _ => read == written,
    }
}
