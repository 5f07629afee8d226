//! What can be drawn where.

use std::env;

use crate::render::{Paint, Tone};

/// A terminal of unknown width is taken for one of the oldest.
const WIDTH: u16 = 80;

/// What is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) paint: Paint,
    /// Characters of a line.
    pub(crate) width: usize,
    pub(crate) glyphs: Glyphs,
}

/// With which characters pictures are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyphs {
    Ascii,
    Unicode,
}

impl Screen {
    /// A screen of that width, with the characters of the locale.
    pub(crate) fn new(paint: Paint, width: Option<u16>) -> Self {
        Self {
            paint,
            width: usize::from(width.filter(|width| *width > 0).unwrap_or(WIDTH)),
            glyphs: Glyphs::of_locale(|name| env::var(name).ok()),
        }
    }

    pub(crate) fn title(&self, text: &str) -> String {
        self.paint.dress(Tone::Title, text)
    }
}

impl Glyphs {
    /// The first of these variables that has a value says it all.
    fn of_locale(value: impl Fn(&str) -> Option<String>) -> Self {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"].iter();
        let mut values = variables.filter_map(|name| value(name).filter(|value| !value.is_empty()));
        let locale = values.next().unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }

    /// A cell that is filled from below; eighths.
    pub(super) fn column(self, eighths: usize) -> char {
        const UNICODE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const ASCII: [char; 9] = [' ', '.', '.', ':', ':', '+', '+', '#', '#'];
        match self {
            Self::Unicode => UNICODE[eighths.min(8)],
            Self::Ascii => ASCII[eighths.min(8)],
        }
    }

    /// A bar from the left. Whatever is not zero can be seen.
    pub(super) fn bar(self, share: f64, width: usize) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        if share <= 0.0 {
            return String::new();
        }
        match self {
            Self::Unicode => {
                let eighths = portion(share, width * 8).max(1);
                "█".repeat(eighths / 8) + PARTS[eighths % 8]
            }
            Self::Ascii => "#".repeat(portion(share, width).max(1)),
        }
    }

    pub(super) fn micro(self) -> &'static str {
        match self {
            Self::Unicode => "µs",
            Self::Ascii => "us",
        }
    }
}

/// So much of a whole, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "cells of a screen"
)]
pub(super) fn portion(share: f64, whole: usize) -> usize {
    (share.clamp(0.0, 1.0) * whole as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_can_be_drawn() {
        let of = |all: &str, kind: &str, lang: &str| {
            let values = [("LC_ALL", all), ("LC_CTYPE", kind), ("LANG", lang)];
            Glyphs::of_locale(|name| {
                let value = values.iter().find(|(of, _)| *of == name);
                value.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of("", "", "en_GB.UTF-8"), Glyphs::Unicode);
        assert_eq!(of("", "C.utf8", "C"), Glyphs::Unicode);
        assert_eq!(of("C", "C.utf8", "en_GB.UTF-8"), Glyphs::Ascii);
        assert_eq!(of("", "", ""), Glyphs::Ascii);
    }

    #[test]
    fn little_is_more_than_nothing() {
        let bars = [0.0, 0.000_1, 0.5, 1.0, 7.0].map(|share| Glyphs::Unicode.bar(share, 3));
        assert_eq!(bars, ["", "▏", "█▌", "███", "███"]);
        let bars = [0.0, 0.000_1, 0.5, 1.0].map(|share| Glyphs::Ascii.bar(share, 4));
        assert_eq!(bars, ["", "#", "##", "####"]);
    }
}
