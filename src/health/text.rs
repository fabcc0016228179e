//! The words of containers, fitted into a status message.

/// The longest message, in bytes; what a status holds of one.
const MESSAGE_BYTES: usize = 1024;

/// What stands where something was left out.
const GAP: &str = " … ";

/// `headline: words` on one line and within 1 KiB, which is what a status holds of one. Of words that are too long the middle goes: a panic is
/// told at the start, what led to it in the last lines of the log.
pub fn message(headline: &str, words: &str) -> String {
    let headline = one_line(headline);
    let words = one_line(words);
    if words.is_empty() {
        return clip(&headline, MESSAGE_BYTES);
    }
    let room = MESSAGE_BYTES.saturating_sub(headline.len() + 2);
    if room <= GAP.len() {
        return clip(&headline, MESSAGE_BYTES);
    }
    format!("{headline}: {}", clip(&words, room))
}

/// Runs of white space, line ends among them, become one space: a status message is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `bytes` of the text, cut in the middle and between characters. `bytes` is at least the length of [`GAP`].
fn clip(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let half = bytes.saturating_sub(GAP.len()) / 2;
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=half).rev().find(boundary).unwrap_or(0);
    let tail = (text.len() - half..=text.len())
        .find(boundary)
        .unwrap_or(text.len());
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_stay_as_they_are_but_on_one_line() {
        assert_eq!(
            message("pod a", "no database\n  at main.rs:3\n"),
            "pod a: no database at main.rs:3"
        );
        assert_eq!(message("pod a", " \n"), "pod a");
    }

    #[test]
    fn long_words_lose_their_middle() {
        let words = format!("panic: first{}last line", "x".repeat(5000));
        let message = message("pod a", &words);
        assert_eq!(message.len(), 1024);
        assert!(message.starts_with("pod a: panic: firstxxx"));
        assert!(message.contains("x … x"));
        assert!(message.ends_with("xxxlast line"));
    }

    #[test]
    fn chinese_text_is_cut_between_characters() {
        let message = message("pod a", &"数据库连接失败".repeat(200));
        assert!(
            message.len() <= MESSAGE_BYTES && message.len() > MESSAGE_BYTES - 8,
            "{}",
            message.len()
        );
        assert!(message.starts_with("pod a: 数据库连接失败数据库"));
        assert!(message.ends_with("数据库连接失败"));
        assert!(!message.contains('\u{fffd}'));
    }

    #[test]
    fn a_headline_that_fills_the_message_leaves_no_room_for_words() {
        let message = message(&"h".repeat(3000), "words");
        assert!(message.len() <= MESSAGE_BYTES);
        assert!(!message.contains("words"));
    }
}
