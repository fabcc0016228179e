//! The bounds of a histogram's buckets from a threshold on, as a pattern over their text.
//!
//! PromQL compares labels by letters only. The smallest bound that is not below a threshold is found by a pattern over all
//! numbers that are not: of cumulative buckets the smallest such bound has the fewest requests.

/// Decimals that a threshold in milliseconds has at most when it is told in seconds.
const DECIMALS: usize = 3;

/// A pattern of the decimal numbers that are at least `milliseconds`, told in milliseconds.
pub(super) fn in_milliseconds(milliseconds: u32) -> String {
    at_least(&milliseconds.to_string(), "")
}

/// A pattern of the decimal numbers that are at least `milliseconds`, told in seconds.
pub(super) fn in_seconds(milliseconds: u32) -> String {
    let whole = (milliseconds / 1000).to_string();
    let fraction = format!("{:0DECIMALS$}", milliseconds % 1000);
    at_least(&whole, fraction.trim_end_matches('0'))
}

/// Numbers with exponents are not among them, and neither is infinity: nothing is known of requests beyond the last bound.
fn at_least(whole: &str, fraction: &str) -> String {
    let mut larger = vec![format!("[1-9][0-9]{{{},}}", whole.len())];
    larger.extend(larger_digits(whole, |rest| match rest {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        _ => format!("[0-9]{{{rest}}}"),
    }));
    let same = match fraction {
        "" => format!("{whole}([.][0-9]+)?"),
        fraction => {
            let mut tails = vec![format!("{fraction}[0-9]*")];
            tails.extend(larger_digits(fraction, |_| "[0-9]*".to_owned()));
            format!("{whole}[.]({})", tails.join("|"))
        }
    };
    format!("({})([.][0-9]+)?|{same}", larger.join("|"))
}

/// Digits that are the same up to some place and larger there; `rest` writes as many further ones.
fn larger_digits(digits: &str, rest: impl Fn(usize) -> String) -> Vec<String> {
    let larger = |(place, digit): (usize, char)| {
        let next = match digit {
            '9' => return None,
            '8' => "9".to_owned(),
            digit => format!("[{}-9]", char::from_digit(digit.to_digit(10)? + 1, 10)?),
        };
        Some(format!(
            "{}{next}{}",
            &digits[..place],
            rest(digits.len() - place - 1)
        ))
    };
    digits.char_indices().filter_map(larger).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(text)
    }

    #[test]
    fn bounds_of_usual_histograms() {
        for (bound, expected) in [
            ("0.25", true),
            ("0.250", true),
            ("0.3", true),
            ("1", true),
            ("1.0", true),
            ("10", true),
            ("0.1", false),
            ("0.249", false),
            ("0.025", false),
            ("0", false),
            ("1.0E-4", false),
            ("+Inf", false),
        ] {
            assert_eq!(fits(&in_seconds(250), bound), expected, "{bound}");
        }
        for (bound, expected) in [
            ("250", true),
            ("500", true),
            ("250.5", true),
            ("100", false),
            ("25", false),
        ] {
            assert_eq!(fits(&in_milliseconds(250), bound), expected, "{bound}");
        }
    }

    proptest! {
        #[test]
        fn the_pattern_says_what_numbers_say(threshold in 1_u32..=3_600_000, bound in 0_u32..=4_000_000) {
            let seconds = format!("{}.{:03}", bound / 1000, bound % 1000);
            for text in [seconds.as_str(), seconds.trim_end_matches('0').trim_end_matches('.')] {
                prop_assert_eq!(fits(&in_seconds(threshold), text), bound >= threshold, "{}", text);
            }
            prop_assert_eq!(fits(&in_milliseconds(threshold), &bound.to_string()), bound >= threshold);
        }

        #[test]
        fn also_near_the_threshold(threshold in 2_u32..=3_600_000) {
            for bound in [threshold - 1, threshold, threshold + 1] {
                let seconds = format!("{}.{:03}", bound / 1000, bound % 1000);
                prop_assert_eq!(fits(&in_seconds(threshold), &seconds), bound >= threshold);
            }
        }
    }
}
