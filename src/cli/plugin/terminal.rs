//! Where the text goes to: how it may look there, and how a screen is drawn over and given back.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;

use super::trouble::Trouble;
use crate::plugin::page::{Colour, Look, Page, Signs, Window};

/// Whether colours and line drawing are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// When standard output is a terminal, and NO_COLOR is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What is known of the place that the text goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Terminal,
    File,
}

/// How text may look on standard output.
pub fn look(when: When) -> Look {
    let output = if std::io::stdout().is_terminal() {
        Output::Terminal
    } else {
        Output::File
    };
    look_for(when, output, |name| std::env::var(name).ok())
}

fn look_for(when: When, output: Output, variable: impl Fn(&str) -> Option<String>) -> Look {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let dumb = set("TERM").is_some_and(|term| term == "dumb");
    let terminal = output == Output::Terminal;
    let colour = match when {
        When::Always => Colour::Shown,
        When::Auto if terminal && !dumb && set("NO_COLOR").is_none() => Colour::Shown,
        When::Auto | When::Never => Colour::Hidden,
    };
    // The first of these that is set decides.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(set)
        .unwrap_or_default();
    let locale = locale.to_uppercase();
    let knows = locale.contains("UTF-8") || locale.contains("UTF8");
    let drawn = match when {
        When::Always => true,
        When::Auto => terminal && !dumb && knows,
        When::Never => false,
    };
    Look {
        colour,
        signs: if drawn { Signs::Unicode } else { Signs::Ascii },
    }
}

/// Where successive pages go to.
pub enum Display {
    /// A screen, which they are drawn over.
    Screen(Screen),
    /// A file or a pipe: each one that differs from the one before.
    Stream(Look, Option<String>),
}

impl Display {
    /// The display that standard output is.
    ///
    /// # Errors
    /// Where it cannot be written to.
    pub fn open(look: Look) -> Result<Self, Trouble> {
        if std::io::stdout().is_terminal() {
            Ok(Self::Screen(Screen::open(look)?))
        } else {
            Ok(Self::Stream(look, None))
        }
    }

    /// Shows a page.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub fn show(&mut self, page: &Page) -> Result<(), Trouble> {
        match self {
            Self::Screen(screen) => screen.draw(page),
            Self::Stream(look, before) => {
                let text = page.text(*look);
                if before.as_ref() == Some(&text) {
                    return Ok(());
                }
                let parted = if before.is_some() { "\n" } else { "" };
                write(&format!("{parted}{text}"))?;
                *before = Some(text);
                Ok(())
            }
        }
    }

    /// Whether what is shown changes by time alone: only a person looks at it.
    pub fn is_screen(&self) -> bool {
        matches!(self, Self::Screen(_))
    }
}

/// The terminal's second screen, without a cursor. Both are given back when it is dropped, and the last page is left behind.
pub struct Screen {
    look: Look,
    last: Page,
}

impl Screen {
    fn open(look: Look) -> Result<Self, Trouble> {
        write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self {
            look,
            last: Page::default(),
        })
    }

    fn draw(&mut self, page: &Page) -> Result<(), Trouble> {
        self.last = page.clone();
        write(&page.frame(self.look, window()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to tell where this fails.
        let _ = write(&format!("\x1b[?25h\x1b[?1049l{}", self.last.text(self.look)));
    }
}

fn window() -> Window {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or(
        Window {
            columns: 80,
            rows: 24,
        },
        |(width, height)| Window {
            columns: usize::from(width.0).max(1),
            rows: usize::from(height.0).max(1),
        },
    )
}

/// Writes to standard output, all in one.
pub fn write(text: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_with(when: When, output: Output, variables: &[(&str, &str)]) -> (Colour, Signs) {
        let look = look_for(when, output, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        (look.colour, look.signs)
    }

    #[test]
    fn colour_and_drawing_are_for_terminals_that_know_them() {
        let utf8 = ("LANG", "de_DE.UTF-8");
        let auto = |output, variables: &[(&str, &str)]| look_with(When::Auto, output, variables);
        assert_eq!(auto(Output::Terminal, &[utf8]), (Colour::Shown, Signs::Unicode));
        assert_eq!(auto(Output::File, &[utf8]), (Colour::Hidden, Signs::Ascii));
        assert_eq!(
            auto(Output::Terminal, &[utf8, ("NO_COLOR", "1")]),
            (Colour::Hidden, Signs::Unicode)
        );
        assert_eq!(
            auto(Output::Terminal, &[utf8, ("NO_COLOR", "")]),
            (Colour::Shown, Signs::Unicode)
        );
        assert_eq!(
            auto(Output::Terminal, &[utf8, ("TERM", "dumb")]),
            (Colour::Hidden, Signs::Ascii)
        );
        assert_eq!(
            auto(Output::Terminal, &[utf8, ("LC_ALL", "C")]),
            (Colour::Shown, Signs::Ascii)
        );
        assert_eq!(
            look_with(When::Always, Output::File, &[]),
            (Colour::Shown, Signs::Unicode)
        );
        assert_eq!(
            look_with(When::Never, Output::Terminal, &[utf8]),
            (Colour::Hidden, Signs::Ascii)
        );
    }
}
