//! A second reader of Go's durations, in doubles.

/// Units, those first that others are the beginning of.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nearer to the end of `i64` than this, doubles cannot tell what fits.
const NEAR: f64 = 1e12;

/// Checks what was read of `text` in nanoseconds.
pub fn check(text: &str, read: Option<i64>) {
    let model = nanoseconds(text);
    if let Some(model) = model
        && (model.abs() - i64::MAX as f64).abs() < NEAR
    {
        return;
    }
    match (read, model.filter(|ns| ns.abs() < i64::MAX as f64)) {
        (None, None) => {}
        (Some(read), Some(model)) => {
            let error = (read as f64 - model).abs();
            assert!(
                error <= 1.0 + groups(text) as f64 + model.abs() * 1e-12,
                "{text}: {read} is not {model}"
            );
            let written = quorlited::duration::text_ns(read);
            assert_eq!(
                quorlited::duration::parse_ns(&written),
                Some(read),
                "{text} is written {written}"
            );
        }
        (read, model) => panic!("{text}: read as {read:?}, not as {model:?}"),
    }
}

/// Each number with its unit is cut to whole nanoseconds.
fn groups(text: &str) -> usize {
    text.chars().filter(|letter| letter.is_alphabetic()).count()
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at(end);
        let has_digit = number.bytes().any(|byte| byte.is_ascii_digit());
        if !has_digit || number.matches('.').count() > 1 {
            return None;
        }
        let (unit, ns) = UNITS.iter().find(|(unit, _)| {
            tail.strip_prefix(unit)
                .is_some_and(|tail| !tail.starts_with(char::is_alphabetic))
        })?;
        total += number.parse::<f64>().ok()? * ns;
        rest = &tail[unit.len()..];
    }
    Some(sign * total)
}
