//! Doubles as JSON, in Go's form: shortest digits that read back, no forced fraction, exponents only at the far ends.

#[cfg(test)]
mod tests;

/// From here up, and below [`EXPONENT_BELOW`], a double is written with an exponent.
const EXPONENT_FROM: f64 = 1e21;

/// See [`EXPONENT_FROM`].
const EXPONENT_BELOW: f64 = 1e-6;

/// Appends a finite double.
pub fn push(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    if let Some(whole) = text.strip_suffix(".0") {
        out.extend_from_slice(whole.as_bytes());
        return;
    }
    let magnitude = value.abs();
    let has_exponent = text.contains('e');
    if !has_exponent && (EXPONENT_BELOW..EXPONENT_FROM).contains(&magnitude) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let text = match text.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => text,
    };
    let (digits, point) = digits(text);
    if (EXPONENT_BELOW..EXPONENT_FROM).contains(&magnitude) {
        push_fixed(out, &digits, point);
    } else {
        push_exponent(out, &digits, point);
    }
}

/// A duration as seconds.
pub fn seconds(duration: std::time::Duration) -> f64 {
    duration.as_secs() as f64 + f64::from(duration.subsec_nanos()) / 1e9
}

/// The significant digits of a positive decimal, and where its point stands: `0.d₁d₂… × 10^point`.
fn digits(text: &str) -> (Vec<u8>, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole.as_bytes(), fraction.as_bytes()].concat();
    let leading = all.iter().take_while(|digit| **digit == b'0').count();
    let trailing = all[leading..].iter().rev().take_while(|digit| **digit == b'0').count();
    let digits = all[leading..all.len() - trailing].to_vec();
    let point = whole.len() as i32 - leading as i32 + exponent;
    (digits, point)
}

fn push_fixed(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            out.extend_from_slice(digits);
            out.resize(out.len() + point - digits.len(), b'0');
        }
        Ok(point) if point > 0 => {
            out.extend_from_slice(&digits[..point]);
            out.push(b'.');
            out.extend_from_slice(&digits[point..]);
        }
        Ok(_) | Err(_) => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
        }
    }
}

fn push_exponent(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let exponent = point - 1;
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}
