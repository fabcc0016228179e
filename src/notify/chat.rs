//! The bodies that chats want: Slack, Microsoft Teams, `WeCom`, `DingTalk`, Feishu.

use serde_json::{Value, json};

use super::markup;
use super::notice::{Colour, Notice};
use super::template::Template;

/// The most characters of a section of Slack.
const SLACK_SECTION: usize = 3000;
/// The most characters of a header of Slack.
const SLACK_HEADER: usize = 150;
/// The most bytes of a request to Teams; the limit is 28 KB.
const TEAMS_BYTES: usize = 27 * 1024;
/// The most lines of a card: each is a block of its own.
const TEAMS_LINES: usize = 60;
/// The most bytes of the content of `WeCom`.
const WE_COM_BYTES: usize = 4096;
/// The most bytes of a request to `DingTalk`; the limit is 20,000.
const DING_TALK_BYTES: usize = 19_000;
/// The most bytes of a request to Feishu; the limit is 20 KB.
const FEISHU_BYTES: usize = 19_000;

/// The text, filled and escaped; the title where nothing is left of it, because no platform takes an empty one.
fn text(notice: &Notice, template: Option<&Template<'_>>, escape: fn(&str) -> String) -> String {
    let usual = Template::usual(notice);
    let text = template.unwrap_or(&usual).fill(notice, escape);
    if text.trim().is_empty() {
        escape(&notice.title())
    } else {
        text
    }
}

/// The body made of as much of `text` as fits.
pub fn fitted(text: &str, bytes: usize, body: impl Fn(&str) -> Value) -> Vec<u8> {
    let mut text = text.to_owned();
    loop {
        let made = body(&text).to_string().into_bytes();
        // What is left of an empty text cannot be made smaller.
        if made.len() <= bytes || text.len() < 8 {
            return made;
        }
        text = markup::cut(&text, text.len() / 4 * 3);
    }
}

/// An incoming webhook of Slack: blocks, and a text for where these are not shown.
pub fn slack(notice: &Notice, template: Option<&Template<'_>>) -> Vec<u8> {
    let title = notice.title();
    let text = markup::cut_characters(&text(notice, template, markup::slack), SLACK_SECTION);
    json!({
        "text": markup::slack(&title),
        "blocks": [
            {"type": "header", "text": {
                "type": "plain_text", "text": markup::cut_characters(&markup::plain(&title), SLACK_HEADER), "emoji": false,
            }},
            {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}},
        ],
        "unfurl_links": false,
        "unfurl_media": false,
    })
    .to_string()
    .into_bytes()
}

/// A workflow of Teams: a message with one adaptive card. Its text is runs, which know no Markdown, a line each.
pub fn teams(notice: &Notice, template: Option<&Template<'_>>) -> Vec<u8> {
    let colour = match notice.colour() {
        Colour::Blue => "Accent",
        Colour::Orange => "Warning",
        Colour::Red => "Attention",
        Colour::Green => "Good",
    };
    fitted(&text(notice, template, markup::plain), TEAMS_BYTES, |text| {
        let block = |run: Value| json!({"type": "RichTextBlock", "inlines": [run]});
        let title = block(json!({
            "type": "TextRun", "text": markup::plain(&notice.title()), "size": "Medium", "weight": "Bolder",
            "color": colour,
        }));
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let lines = lines.map(|line| block(json!({"type": "TextRun", "text": line})));
        let blocks: Vec<Value> = std::iter::once(title).chain(lines).take(TEAMS_LINES).collect();
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "msteams": {"width": "Full"},
                    "body": blocks,
                },
            }],
        })
    })
}

/// A group robot of `WeCom`: Markdown.
pub fn we_com(notice: &Notice, template: Option<&Template<'_>>) -> Vec<u8> {
    let content = format!(
        "**{}**\n{}",
        markup::markdown(&notice.title()),
        text(notice, template, markup::markdown)
    );
    json!({"msgtype": "markdown", "markdown": {"content": markup::cut(&content, WE_COM_BYTES)}})
        .to_string()
        .into_bytes()
}

/// A custom robot of `DingTalk`: Markdown, with a title for the list of chats.
pub fn ding_talk(notice: &Notice, template: Option<&Template<'_>>) -> Vec<u8> {
    let title = markup::markdown(&notice.title());
    // Lines that end with two spaces break; others flow on.
    let text = text(notice, template, markup::markdown).replace('\n', "  \n");
    fitted(&text, DING_TALK_BYTES, |text| {
        json!({
            "msgtype": "markdown",
            "markdown": {"title": title, "text": format!("#### {title}\n\n{text}")},
        })
    })
}

/// A custom bot of Feishu: a card of plain text, with the time and signature where it is signed.
pub fn feishu(notice: &Notice, template: Option<&Template<'_>>, stamp: Option<(i64, String)>) -> Vec<u8> {
    let colour = match notice.colour() {
        Colour::Blue => "blue",
        Colour::Orange => "orange",
        Colour::Red => "red",
        Colour::Green => "green",
    };
    let plain = |text: &str| json!({"tag": "plain_text", "content": text});
    fitted(&text(notice, template, markup::plain), FEISHU_BYTES, |text| {
        let mut body = json!({
            "msg_type": "interactive",
            "card": {
                "config": {"wide_screen_mode": true},
                "header": {"template": colour, "title": plain(&markup::plain(&notice.title()))},
                "elements": [{"tag": "div", "text": plain(text)}],
            },
        });
        if let Some((seconds, signature)) = &stamp {
            body["timestamp"] = json!(seconds.to_string());
            body["sign"] = json!(signature);
        }
        body
    })
}
