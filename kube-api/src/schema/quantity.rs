//! Resource quantities such as `100m`, `64Mi` or `1e3`.

use std::cmp::Ordering;

/// What a malformed quantity is answered with.
pub(crate) const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// A quantity as an exact multiple of 10^-9, saturating: enough to compare what people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

impl Quantity {
    /// Reads a quantity; `None` when it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = digits.find(|char: char| !char.is_ascii_digit() && char != '.');
        let (number, suffix) = digits.split_at(end.unwrap_or(digits.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (base, exponent) = scale(suffix)?;
        let mut value: i128 = 0;
        for digit in whole.bytes() {
            value = value
                .saturating_mul(10)
                .saturating_add(i128::from(digit - b'0'));
        }
        value = value.saturating_mul(NANO);
        let mut place = NANO / 10;
        for digit in fraction.bytes() {
            value = value.saturating_add(place * i128::from(digit - b'0'));
            place /= 10;
        }
        let factor = base.saturating_pow(exponent.unsigned_abs());
        let value = match exponent.cmp(&0) {
            Ordering::Less => value / factor,
            Ordering::Equal => value,
            Ordering::Greater => value.saturating_mul(factor),
        };
        Some(Self(if text.starts_with('-') { -value } else { value }))
    }

    /// Whether it is below zero.
    pub(crate) const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

const NANO: i128 = 1_000_000_000;

fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "" => (10, 0),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            // Beyond this nothing is left to compare.
            (10, exponent.parse::<i32>().ok()?.clamp(-38, 38))
        }
    })
}
