//! What an answer means. Its words are never quoted but for codes: who answers may say anything, also what it was sent.

use serde_json::Value;

use super::channel::ChannelKind;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It arrived.
    Accepted,
    /// It did not arrive, and may later: why.
    Later(String),
    /// It did not arrive, and will not: why.
    Refused(String),
    /// Whether it arrived is not known: why.
    Unclear(String),
}

/// What a platform answered with this status and the beginning of this body.
pub fn answer(kind: ChannelKind, status: u16, body: &[u8]) -> Answer {
    let said = format!("the answer was {status}{}", slack_word(kind, body));
    match status {
        200..=299 => accepted(kind, status, body),
        300..=399 => Answer::Refused(format!("{said}, and redirects are not followed")),
        408 | 425 | 429 => Answer::Later(said),
        // Who answers so stands before somebody who was given it, gave no answer, and may be at it. A workflow of Teams says
        // 502 when it has run without one.
        502 | 504 => Answer::Unclear(said),
        500..=599 => Answer::Later(said),
        _ => Answer::Refused(said),
    }
}

/// `WeCom`, `DingTalk` and Feishu say in the body what became of it.
fn accepted(kind: ChannelKind, status: u16, body: &[u8]) -> Answer {
    let names: &[&str] = match kind {
        ChannelKind::WeCom | ChannelKind::DingTalk => &["errcode"],
        // The second one is what it was called first.
        ChannelKind::Feishu => &["code", "StatusCode"],
        ChannelKind::Slack | ChannelKind::Teams | ChannelKind::Webhook | ChannelKind::Alertmanager => {
            return Answer::Accepted;
        }
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = names.iter().find_map(|name| body.get(*name)?.as_i64());
    match code {
        Some(0) => Answer::Accepted,
        Some(code) => {
            let words = format!("the answer was {status} with {} {code}", names[0]);
            if is_busy(kind, code, &body) {
                Answer::Later(words)
            } else {
                Answer::Refused(words)
            }
        }
        None => Answer::Unclear(format!("the answer was {status}, but not one of {}", kind.name())),
    }
}

/// Whether a code says that there were too many messages, or that the platform is in trouble.
fn is_busy(kind: ChannelKind, code: i64, body: &Value) -> bool {
    match kind {
        ChannelKind::WeCom => [-1, 45009, 45033].contains(&code),
        ChannelKind::DingTalk => [-1, 88, 90018, 90030, 130_101, 130_102, 410_100].contains(&code),
        ChannelKind::Feishu => {
            let words = body.get("msg").and_then(Value::as_str).unwrap_or_default();
            // One code for whatever is wrong with a request; only the words tell.
            [11232, 11233, 11247].contains(&code)
                || (code == 9499 && words.to_lowercase().contains("too many"))
        }
        ChannelKind::Slack | ChannelKind::Teams | ChannelKind::Webhook | ChannelKind::Alertmanager => false,
    }
}

/// Slack answers with one word, such as `no_service`.
fn slack_word(kind: ChannelKind, body: &[u8]) -> String {
    let word = std::str::from_utf8(body).unwrap_or_default().trim();
    let is_word = word.len() <= 40 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if kind == ChannelKind::Slack && is_word && !word.is_empty() {
        format!(" {word}")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: ChannelKind, status: u16, body: &str) -> (&'static str, String) {
        match answer(kind, status, body.as_bytes()) {
            Answer::Accepted => ("accepted", String::new()),
            Answer::Later(words) => ("later", words),
            Answer::Refused(words) => ("refused", words),
            Answer::Unclear(words) => ("unclear", words),
        }
    }

    #[test]
    fn statuses_mean_the_same_to_all() {
        for kind in ChannelKind::ALL {
            for (status, meaning) in [
                (302, "refused"),
                (400, "refused"),
                (404, "refused"),
                (408, "later"),
                (429, "later"),
                (500, "later"),
                (502, "unclear"),
                (503, "later"),
                (504, "unclear"),
            ] {
                assert_eq!(words(kind, status, "{\"errcode\":0}").0, meaning, "{status}");
            }
        }
        assert_eq!(
            words(ChannelKind::Slack, 404, "no_service").1,
            "the answer was 404 no_service"
        );
    }

    #[test]
    fn success_may_be_a_failure() {
        use ChannelKind::{Alertmanager, DingTalk, Feishu, Slack, Teams, WeCom, Webhook};
        for (kind, body, meaning, said) in [
            (Slack, "ok", "accepted", ""),
            (Teams, "", "accepted", ""),
            (Webhook, "{\"errcode\":1}", "accepted", ""),
            (Alertmanager, "", "accepted", ""),
            (WeCom, r#"{"errcode":0,"errmsg":"ok"}"#, "accepted", ""),
            (
                WeCom,
                r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#,
                "refused",
                "the answer was 200 with errcode 93000",
            ),
            (
                WeCom,
                r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#,
                "later",
                "the answer was 200 with errcode 45009",
            ),
            (DingTalk, r#"{"errcode":0,"errmsg":"ok"}"#, "accepted", ""),
            (
                DingTalk,
                r#"{"errcode":310000,"errmsg":"sign not match"}"#,
                "refused",
                "the answer was 200 with errcode 310000",
            ),
            (
                DingTalk,
                r#"{"errcode":130101,"errmsg":"send too fast"}"#,
                "later",
                "the answer was 200 with errcode 130101",
            ),
            (
                Feishu,
                r#"{"code":0,"msg":"success","StatusCode":0}"#,
                "accepted",
                "",
            ),
            (
                Feishu,
                r#"{"StatusCode":0,"StatusMessage":"success"}"#,
                "accepted",
                "",
            ),
            (
                Feishu,
                r#"{"code":19021,"msg":"sign match fail"}"#,
                "refused",
                "the answer was 200 with code 19021",
            ),
            (
                Feishu,
                r#"{"code":11232,"msg":"frequency limited"}"#,
                "later",
                "the answer was 200 with code 11232",
            ),
            (
                Feishu,
                r#"{"code":9499,"msg":"Too Many Request"}"#,
                "later",
                "the answer was 200 with code 9499",
            ),
            (
                Feishu,
                r#"{"code":9499,"msg":"Bad Request"}"#,
                "refused",
                "the answer was 200 with code 9499",
            ),
            (
                DingTalk,
                "<html>a proxy</html>",
                "unclear",
                "the answer was 200, but not one of DingTalk",
            ),
        ] {
            assert_eq!(words(kind, 200, body), (meaning, said.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_answered_is_not_quoted() {
        for kind in ChannelKind::ALL {
            for status in [200, 302, 400, 429, 504] {
                let body = r#"{"errcode":1,"code":1,"errmsg":"your token s3cret","msg":"s3cret"}"#;
                assert!(!words(kind, status, body).1.contains("s3cret"));
            }
        }
    }
}
