//! Text with tones, laid out in columns by what a terminal shows of it, and written with colour or without.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The most lines of a sentence on a screen.
const SENTENCE_LINES: usize = 4;

/// What a piece of text means to its reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing particular.
    #[default]
    Plain,
    /// What the eye should find.
    Strong,
    /// What may be overlooked.
    Dim,
    /// All is well.
    Good,
    /// Something goes on.
    Busy,
    /// A person is waited for.
    Waiting,
    /// Something is wrong.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Busy => colour(AnsiColor::Cyan),
            Self::Waiting => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red),
        }
    }
}

/// Whether colours are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// They are.
    Shown,
    /// Plain text.
    Hidden,
}

/// Which signs the lines of a tree are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Box drawing.
    Unicode,
    /// For terminals and files that know no more.
    Ascii,
}

impl Signs {
    /// Before a branch: one that others follow, or the last one.
    pub fn branch(self, place: Place) -> &'static str {
        match (self, place) {
            (Self::Unicode, Place::Among) => "├─ ",
            (Self::Unicode, Place::Last) => "└─ ",
            (Self::Ascii, Place::Among) => "|- ",
            (Self::Ascii, Place::Last) => "`- ",
        }
    }

    /// Before what hangs on a branch.
    pub fn below(self, place: Place) -> &'static str {
        match (self, place) {
            (Self::Unicode, Place::Among) => "│  ",
            (Self::Ascii, Place::Among) => "|  ",
            (_, Place::Last) => "   ",
        }
    }

    /// What goes on below `sign`; nothing where it is none.
    fn under(sign: &str) -> Option<&'static str> {
        let below = |signs: Self, place| Some(signs.below(place));
        match sign {
            "├─ " | "│  " => below(Self::Unicode, Place::Among),
            "|- " | "|  " => below(Self::Ascii, Place::Among),
            _ => None,
        }
    }

    fn cut(self) -> &'static str {
        match self {
            Self::Unicode => "…",
            Self::Ascii => "~",
        }
    }
}

/// Where a branch stands among those beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Others follow.
    Among,
    /// It is the last one.
    Last,
}

impl Place {
    /// The place of number `index` of `count`.
    pub fn of(index: usize, count: usize) -> Self {
        if index + 1 == count {
            Self::Last
        } else {
            Self::Among
        }
    }
}

/// A piece of text with its tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    text: String,
    tone: Tone,
}

impl Span {
    /// Text with a tone. What would move a cursor or turn the reading direction is taken out: words of containers and of
    /// other people's manifests end here.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            text: printable(text.as_ref()),
            tone,
        }
    }

    /// Text without a tone.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Tone::Plain, text)
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// The text without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect()
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Span>);

impl Line {
    /// A line of plain text.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self(vec![Span::plain(text)])
    }

    fn width(&self) -> usize {
        self.0.iter().map(Span::width).sum()
    }

    /// The lines that it takes where there are so many columns: a sentence at its end goes on below its beginning, for
    /// [`SENTENCE_LINES`] at most. Whatever else is too long is cut when it is written.
    fn wrapped(&self, columns: usize) -> Vec<Self> {
        let Some((last, lead)) = self.0.split_last() else {
            return vec![self.clone()];
        };
        let text = last.text.trim_start();
        let indent = last.text.len() - text.len();
        let taken = lead.iter().map(Span::width).sum::<usize>() + indent;
        if self.width() <= columns || taken > columns / 2 || !text.trim_end().contains(' ') {
            return vec![self.clone()];
        }
        let mut parts: Vec<String> = vec![String::new()];
        for word in text.split(' ') {
            let full = parts.len() == SENTENCE_LINES;
            match parts.last_mut() {
                Some(part) if part.is_empty() => part.push_str(word),
                Some(part) if full || taken + part.width() + 1 + word.width() <= columns => {
                    part.push(' ');
                    part.push_str(word);
                }
                Some(_) | None => parts.push(word.to_owned()),
            }
        }
        let under = |span: &Span| {
            let blank = || " ".repeat(span.width());
            let text = Signs::under(&span.text).map_or_else(blank, str::to_owned);
            Span {
                text,
                tone: span.tone,
            }
        };
        let parts = parts.into_iter().enumerate().map(|(number, part)| {
            let mut spans = match number {
                0 => lead.to_vec(),
                _ => lead.iter().map(under).collect(),
            };
            spans.push(Span {
                text: format!("{}{part}", " ".repeat(indent)),
                tone: last.tone,
            });
            Self(spans)
        });
        parts.collect()
    }

    /// Its text, at most so many columns of it.
    fn write(&self, colour: Colour, signs: Signs, columns: Option<usize>) -> String {
        let most = columns.unwrap_or(usize::MAX);
        let cut = self.width() > most;
        let mut room = if cut { most.saturating_sub(1) } else { most };
        let mut written = String::new();
        let mut plain = String::new();
        for span in &self.0 {
            let text = prefix(&span.text, room);
            room = room.saturating_sub(text.width());
            plain.push_str(text);
            let style = span.tone.style();
            match colour {
                Colour::Shown if !text.trim().is_empty() => {
                    written.push_str(&format!("{style}{text}{style:#}"));
                }
                Colour::Shown | Colour::Hidden => written.push_str(text),
            }
            if text.len() < span.text.len() {
                break;
            }
        }
        if cut && most > 0 {
            written.push_str(signs.cut());
        } else if colour == Colour::Hidden {
            written.truncate(plain.trim_end().len());
        }
        written
    }
}

/// As much of the beginning as fits into so many columns.
fn prefix(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// How much of a page can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub colour: Colour,
    /// The signs of trees.
    pub signs: Signs,
}

impl Look {
    /// For files and pipes.
    pub const PLAIN: Self = Self {
        colour: Colour::Hidden,
        signs: Signs::Ascii,
    };
}

/// Lines of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(pub Vec<Line>);

impl Page {
    /// All of it.
    pub fn text(&self, look: Look) -> String {
        let line = |line: &Line| line.write(look.colour, look.signs, None) + "\n";
        self.0.iter().map(line).collect()
    }

    /// A frame for a terminal that is drawn over the one before: from the top, each line wiped to its end, and the rest
    /// of the screen after the last one. Drawn in one write, nothing flickers. What does not fit is cut, and how much of
    /// it is told.
    pub fn frame(&self, look: Look, window: Window) -> String {
        let rows = window.rows.max(1);
        let all: Vec<Line> = self
            .0
            .iter()
            .flat_map(|line| line.wrapped(window.columns))
            .collect();
        let hidden = all.len().saturating_sub(rows);
        let shown = if hidden > 0 { rows - 1 } else { all.len() };
        let mut lines: Vec<String> = all[..shown]
            .iter()
            .map(|line| line.write(look.colour, look.signs, Some(window.columns)))
            .collect();
        if hidden > 0 {
            let more = Line(vec![Span::new(
                Tone::Dim,
                format!("and {} more lines", hidden + 1),
            )]);
            lines.push(more.write(look.colour, look.signs, Some(window.columns)));
        }
        format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
    }
}

/// Rows of cells as lines: each column is as wide as its widest cell.
pub fn columns(rows: Vec<Vec<Span>>) -> Vec<Line> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len());
        cells.map(|row| row[column].width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let lay = |row: Vec<Span>| {
        let last = row.len().saturating_sub(1);
        let mut spans = Vec::new();
        for (column, cell) in row.into_iter().enumerate() {
            let gap = if column < last {
                widths[column].saturating_sub(cell.width()) + 2
            } else {
                0
            };
            spans.push(cell);
            spans.push(Span {
                text: " ".repeat(gap),
                tone: Tone::Plain,
            });
        }
        Line(spans)
    };
    rows.into_iter().map(lay).collect()
}

/// A time that went by, or is to, in its two largest units.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{part}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, "m", seconds % 60, "s"),
        (0, hours, minutes) => two(hours, "h", minutes, "m"),
        (days, hours, _) => two(days, "d", hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<Span> {
        cells.iter().map(Span::plain).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let page = Page(columns(vec![
            row(&["a", "b", "c"]),
            row(&["订单服务", "bb", "c"]),
        ]));
        assert_eq!(page.text(Look::PLAIN), "a         b   c\n订单服务  bb  c\n");
    }

    #[test]
    fn words_of_others_cannot_move_the_cursor() {
        let page = Page(vec![Line::plain("a\x1b[2Jb\u{202e}\r\nc")]);
        assert_eq!(page.text(Look::PLAIN), "a [2Jb  c\n");
    }

    #[test]
    fn a_frame_is_cut_to_the_window() {
        let page = Page(vec![Line::plain("订单服务"), Line::plain("b"), Line::plain("c")]);
        let window = Window { columns: 4, rows: 2 };
        // A sign of two columns that would stand half outside is left out.
        assert_eq!(
            page.frame(Look::PLAIN, window),
            "\x1b[H订~\x1b[K\r\nand~\x1b[K\x1b[J"
        );
        let wide = Window { columns: 80, rows: 9 };
        assert_eq!(
            page.frame(Look::PLAIN, wide),
            "\x1b[H订单服务\x1b[K\r\nb\x1b[K\r\nc\x1b[K\x1b[J"
        );
    }

    #[test]
    fn a_sentence_goes_on_below_its_beginning() {
        let shown = |spans: &[&str], columns: usize| -> Vec<String> {
            let lines = Line(row(spans)).wrapped(columns);
            let written = lines
                .iter()
                .map(|line| line.write(Colour::Hidden, Signs::Unicode, Some(columns)));
            written.collect()
        };
        assert_eq!(shown(&["  it was taken back"], 12), ["  it was", "  taken back"]);
        assert_eq!(
            shown(&["│  ", "├─ ", "no database at all"], 18),
            ["│  ├─ no database", "│  │  at all"]
        );
        assert_eq!(shown(&["└─ ", "one two three"], 11), ["└─ one two", "   three"]);
        // What fits, and what is one word, stays in its line.
        assert_eq!(shown(&["  it was taken back"], 19), ["  it was taken back"]);
        assert_eq!(shown(&["registry.example/web:1"], 9), ["registry…"]);
        // No sentence takes the whole screen.
        assert_eq!(shown(&["a a a a b b b"], 3), ["a a", "a a", "b b", "b"]);
        assert_eq!(shown(&["a a a a a a a a b"], 3), ["a a", "a a", "a a", "a …"]);
    }

    #[test]
    fn colours_are_closed_on_each_span() {
        let line = Line(vec![Span::new(Tone::Bad, "no"), Span::plain(" ")]);
        let look = Look {
            colour: Colour::Shown,
            signs: Signs::Unicode,
        };
        assert_eq!(Page(vec![line]).text(look), "\x1b[31mno\x1b[0m \n");
    }

    #[test]
    fn durations_have_two_units() {
        let found = [0, 59, 60, 200, 7200, 7260, 90_000, -5].map(duration);
        assert_eq!(found, ["0s", "59s", "1m", "3m20s", "2h", "2h1m", "1d1h", "0s"]);
    }
}
