//! What keeps a text from meaning something to the platform that shows it, and from being too long for it.

/// What a cut text ends with.
const ELLIPSIS: &str = "…";

/// A text that stands for itself within Slack's mrkdwn: no mention, no link, no channel.
pub fn slack(text: &str) -> String {
    let text: String = text.chars().filter(|c| !is_unprintable(*c)).collect();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A text that stands for itself within the Markdown of `WeCom` and `DingTalk`. None of them says how to escape, so what could
/// begin a link, a picture, a mention, a tag or an emphasis is shown by its full-width twin; a line break would begin a
/// heading or a quotation, and becomes a space.
pub fn markdown(text: &str) -> String {
    let twin = |c: char| match c {
        '<' => '＜',
        '>' => '＞',
        '[' => '［',
        ']' => '］',
        '*' => '＊',
        '`' => '｀',
        '~' => '～',
        '\n' | '\r' | '\t' => ' ',
        other => other,
    };
    text.chars().map(twin).filter(|c| !is_unprintable(*c)).collect()
}

/// A text for where nothing is markup.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}

/// Control characters other than line breaks and tabs, and those that turn the direction of what follows.
fn is_unprintable(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// At most so many bytes, cut between characters, and not within an entity of Slack's.
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let room = bytes.saturating_sub(ELLIPSIS.len());
    let end = (0..=room).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    ended(&text[..end])
}

/// At most so many characters, at least one, cut as [`cut`] does.
pub fn cut_characters(text: &str, characters: usize) -> String {
    let starts = |number: usize| text.char_indices().nth(number).map(|(at, _)| at);
    match starts(characters) {
        None => text.to_owned(),
        Some(_) => ended(&text[..starts(characters.saturating_sub(1)).unwrap_or(0)]),
    }
}

/// What is kept of a text that goes on, without the beginning of an entity.
fn ended(kept: &str) -> String {
    let kept = match kept.rfind('&') {
        // The longest one is `&amp;`.
        Some(at) if kept.len() - at < 5 && !kept[at..].contains(';') => &kept[..at],
        Some(_) | None => kept,
    };
    format!("{kept}{ELLIPSIS}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entities_are_kept_whole() {
        assert_eq!(cut("a&amp;b", 7), "a&amp;b");
        for bytes in 4..8 {
            assert_eq!(cut("a&amp;bcd", bytes), "a…", "{bytes}");
        }
        assert_eq!(cut("a&amp;bcd", 9), "a&amp;bcd");
        assert_eq!(cut("a&amp;bcdef", 9), "a&amp;…");
        // Few characters of many bytes.
        assert_eq!(cut_characters("长长长长", 3), "长长…");
        assert_eq!(cut_characters("aⷐ®ங", 3), "aⷐ…");
    }

    proptest! {
        #[test]
        fn a_cut_text_fits(text in "\\PC{0,40}", bytes in 3_usize..50) {
            prop_assert!(cut(&text, bytes).len() <= bytes);
            prop_assert!(cut_characters(&text, bytes).chars().count() <= bytes);
        }

        #[test]
        fn nothing_is_left_that_platforms_read(text in any::<String>()) {
            let slack = slack(&text);
            prop_assert!(!slack.contains(['<', '>']));
            prop_assert!(slack.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").find('&').is_none());
            prop_assert!(!markdown(&text).contains(['<', '>', '[', ']', '*', '`', '~', '\n', '\r']));
        }
    }
}
