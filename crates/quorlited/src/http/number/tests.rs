//! The forms, and that each reads back.

use super::push;

fn text(value: f64) -> String {
    let mut out = Vec::new();
    push(&mut out, value);
    String::from_utf8(out).unwrap()
}

#[test]
fn forms_are_those_of_go() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (678.0, "678"),
        (-1.0, "-1"),
        (17.1, "17.1"),
        (4.25, "4.25"),
        (0.1, "0.1"),
        (0.00031, "0.00031"),
        (0.000001, "0.000001"),
        (0.0000015, "0.0000015"),
        (9.9e-7, "9.9e-7"),
        (1e-7, "1e-7"),
        (-1.5e-7, "-1.5e-7"),
        (5e-324, "5e-324"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1.5e16, "15000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e21, "-1.25e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740993.0, "9007199254740992"),
        (2e3, "2000"),
    ] {
        assert_eq!(text(value), expected);
    }
}

#[test]
fn every_form_reads_back() {
    let mut bits: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let value = f64::from_bits(bits);
        if value.is_finite() {
            assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
