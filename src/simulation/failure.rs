//! What is scripted to go wrong with a candidate.

use std::fmt;
use std::str::FromStr;

/// A failure of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Failure {
    /// Nothing goes wrong.
    #[default]
    None,
    /// Its containers end again and again.
    Crash,
    /// Its pods are not ready.
    NeverReady,
    /// The registry does not have its image.
    ImageMissing,
    /// So many percent of its requests fail.
    Errors(f64),
    /// Its requests take so many milliseconds longer.
    Slow(u32),
}

impl Failure {
    /// What begins.
    pub fn words(self) -> String {
        match self {
            Self::None => "nothing goes wrong".to_owned(),
            Self::Crash => "the candidate's containers crash".to_owned(),
            Self::NeverReady => "the candidate's pods are not ready".to_owned(),
            Self::ImageMissing => "the registry does not have the candidate's image".to_owned(),
            Self::Errors(percent) => format!("{percent} % of the candidate's requests fail"),
            Self::Slow(milliseconds) => {
                format!("the candidate's requests take {milliseconds} ms longer")
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Crash => f.write_str("crash"),
            Self::NeverReady => f.write_str("never-ready"),
            Self::ImageMissing => f.write_str("image-missing"),
            Self::Errors(percent) => write!(f, "errors={percent}%"),
            Self::Slow(milliseconds) => write!(f, "slow={milliseconds}ms"),
        }
    }
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be none, crash, never-ready, image-missing, errors=N% with N of 0.1 to 100, or slow=Nms with N of 1 \
             to 60000"
                .to_owned()
        };
        let number = |text: &str, unit| text.strip_suffix(unit).map(str::to_owned).ok_or_else(wrong);
        match text.split_once('=') {
            None => match text {
                "none" => Ok(Self::None),
                "crash" => Ok(Self::Crash),
                "never-ready" => Ok(Self::NeverReady),
                "image-missing" => Ok(Self::ImageMissing),
                _ => Err(wrong()),
            },
            Some(("errors", share)) => match number(share, "%")?.parse::<f64>() {
                Ok(percent) if (0.1..=100.0).contains(&percent) => Ok(Self::Errors(percent)),
                Ok(_) | Err(_) => Err(wrong()),
            },
            Some(("slow", time)) => match number(time, "ms")?.parse::<u32>() {
                Ok(milliseconds) if (1..=60_000).contains(&milliseconds) => Ok(Self::Slow(milliseconds)),
                Ok(_) | Err(_) => Err(wrong()),
            },
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "none",
            "crash",
            "never-ready",
            "image-missing",
            "errors=30%",
            "errors=0.5%",
            "slow=200ms",
        ] {
            assert_eq!(text.parse::<Failure>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "errors",
            "errors=",
            "errors=30",
            "errors=0%",
            "errors=101%",
            "errors=NaN%",
            "slow=200",
            "slow=0ms",
            "slow=-1ms",
            "fire",
            "crash=1",
        ] {
            let words = text.parse::<Failure>().unwrap_err();
            assert!(words.contains("errors=N%"), "{text}: {words}");
        }
    }
}
