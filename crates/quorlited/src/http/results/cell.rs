//! One value as JSON: its storage class, seen through its column's declared type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use command::rows::CellRef;

use super::column::Column;
use crate::http::json::Writer;
use crate::http::number;
use crate::http::timestamp::{self, OutOfRange};

/// Why a value cannot be written.
#[derive(Debug)]
pub enum Unwritable {
    /// A moment outside the calendar: its statement fails.
    Time(OutOfRange),
    /// An infinity, by its name in the message: the answer fails.
    Number(&'static str),
}

/// Writes `cell`. After an error the writer holds a part of it.
pub fn write(json: &mut Writer, column: &Column, cell: CellRef<'_>, blob_array: bool) -> Result<(), Unwritable> {
    match cell {
        CellRef::Null => json.null(),
        CellRef::Integer(value) if column.is_boolean => json.boolean(value > 0),
        CellRef::Integer(value) if column.is_time => {
            json.string(timestamp::from_integer(value).map_err(Unwritable::Time)?);
        }
        CellRef::Integer(value) => json.integer(value),
        CellRef::Real(value) if value.is_finite() => json.value(|out| number::push(out, value)),
        CellRef::Real(value) => return Err(Unwritable::Number(infinity(value))),
        CellRef::Text(text) if column.is_time => json.string(timestamp::from_text(text)),
        CellRef::Text(text) => json.string(text),
        CellRef::Blob(bytes) if column.is_text => json.string(bytes),
        CellRef::Blob(bytes) if blob_array => {
            json.begin_array();
            bytes.iter().for_each(|byte| json.integer(*byte));
            json.end_array();
        }
        CellRef::Blob(bytes) => json.value(|out| push_base64(out, bytes)),
    }
    Ok(())
}

fn infinity(value: f64) -> &'static str {
    if value > 0.0 {
        "+Inf"
    } else if value < 0.0 {
        "-Inf"
    } else {
        "NaN"
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let begin = out.len();
    out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what padded base64 takes, so this cannot fail.
    let written = STANDARD.encode_slice(bytes, &mut out[begin..]).unwrap_or(0);
    out.truncate(begin + written);
    out.push(b'"');
}
