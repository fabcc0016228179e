//! Percentages as users write them, reckoned with exactly: what an alert is compared with is read by people.

/// Millionths of a percent in all of it.
const WHOLE: u64 = 100_000_000;

/// A percentage with at most six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) struct Percentage {
    millionths: u64,
}

impl Percentage {
    /// Reads "99.9"; `None` for what the schema does not let through.
    pub(in crate::render) fn read(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let millionths: u64 = format!("{whole}{fraction:0<6}").parse().ok()?;
        (millionths <= WHOLE).then_some(Self { millionths })
    }

    /// What is missing to a hundred.
    pub(in crate::render) fn rest(self) -> Self {
        Self {
            millionths: WHOLE - self.millionths,
        }
    }

    /// The same as a share of one.
    pub(in crate::render) fn share(self) -> String {
        decimal(self.millionths, 8)
    }

    /// The share of one that is so many tenths of it; `None` where that is one or more.
    pub(in crate::render) fn share_of_tenths(self, tenths: u64) -> Option<String> {
        let share = self.millionths * tenths;
        (share < WHOLE * 10).then(|| decimal(share, 9))
    }

    /// As it is written.
    pub(in crate::render) fn words(self) -> String {
        decimal(self.millionths, 6)
    }
}

/// A number of which the last `places` digits are decimals.
pub(in crate::render) fn decimal(number: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let fraction = format!("{:0width$}", number % unit, width = places as usize);
    let text = format!("{}.{fraction}", number / unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        let good = Percentage::read("99.9").unwrap();
        assert_eq!(good.rest().words(), "0.1");
        assert_eq!(good.rest().share(), "0.001");
        assert_eq!(good.rest().share_of_tenths(144).unwrap(), "0.0144");
        assert_eq!(
            Percentage::read("99.999999")
                .unwrap()
                .rest()
                .share_of_tenths(144)
                .unwrap(),
            "0.000000144"
        );
        assert_eq!(Percentage::read("50").unwrap().share(), "0.5");
        assert_eq!(Percentage::read("90").unwrap().rest().share_of_tenths(144), None);
        assert_eq!(Percentage::read("x"), None);
        assert_eq!(Percentage::read("1.2345678"), None);
    }
}
