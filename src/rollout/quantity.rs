//! Quantities of Kubernetes, as far as two of them can be told equal: the API server stores 0.5 as 500m.

/// The value of a quantity in billionths; `None` for what is none.
///
/// Grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
pub fn nanos(text: &str) -> Option<i128> {
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['+', '-']);
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let billionths: i128 = format!("{fraction:0<9}").parse().ok()?;
    let value = whole.checked_mul(1_000_000_000)?.checked_add(billionths)?;
    let scaled = scale(value, suffix)?;
    Some(if negative { -scaled } else { scaled })
}

fn scale(value: i128, suffix: &str) -> Option<i128> {
    let factor: i128 = match suffix {
        "n" => return Some(value / 1_000_000_000),
        "u" => return Some(value / 1_000_000),
        "m" => return Some(value / 1_000),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        exponent => {
            let exponent: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_i128.checked_pow(exponent)?
        }
    };
    value.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn different_texts_of_one_value_are_equal() {
        for (a, b) in [
            ("0.5", "500m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("128Mi", "134217728"),
        ] {
            assert_eq!(nanos(a), nanos(b), "{a} {b}");
            assert!(nanos(a).is_some());
        }
        assert_ne!(nanos("1"), nanos("1m"));
        assert_eq!(nanos("abc"), None);
        assert_eq!(nanos(""), None);
    }
}
