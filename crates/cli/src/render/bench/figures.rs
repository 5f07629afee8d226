//! Numbers as they are read: three digits and a unit.

use std::time::Duration;

use procession_load::Spread;

use super::screen::Glyphs;

/// What is shown of rates: percentiles 1, 2.5, 50 and 97.5, mean, deviation, least.
pub(super) fn of_rates(of: &Spread) -> [f64; 7] {
    [
        of.percentile(1.0),
        of.percentile(2.5),
        of.percentile(50.0),
        of.percentile(97.5),
        of.mean(),
        of.stdev(),
        of.min(),
    ]
}

/// `83 µs`, `1.24 ms`, `12.4 s`.
pub(super) fn took(time: Duration, glyphs: Glyphs) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 999.5 {
        format!("{micros:.0} {}", glyphs.micro())
    } else if micros < 999_500.0 {
        format!("{} ms", three_digits(micros / 1e3))
    } else {
        format!("{} s", three_digits(micros / 1e6))
    }
}

/// `512 B`, `99.3 kB`, `1.54 MB`.
pub(super) fn bytes(number: f64) -> String {
    let (number, unit) = scaled(number, ["B", "kB", "MB", "GB", "TB"]);
    format!("{number} {unit}")
}

/// `9.87`, `987`, `98.7k`: for scales.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = scaled(number, ["", "k", "M", "G", "T"]);
    format!("{number}{unit}")
}

fn scaled(mut number: f64, units: [&str; 5]) -> (String, &str) {
    let mut unit = 0;
    while number >= 999.5 && unit < units.len() - 1 {
        number /= 1e3;
        unit += 1;
    }
    (three_digits(number), units[unit])
}

fn three_digits(number: f64) -> String {
    let text = if number < 9.995 {
        format!("{number:.2}")
    } else if number < 99.95 {
        format!("{number:.1}")
    } else {
        return format!("{number:.0}");
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: `18,234`, and one digit behind the point where it is small.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative; above 2^64 they saturate"
)]
pub(super) fn rate(number: f64) -> String {
    if number < 99.95 {
        return three_digits(number);
    }
    count(number.round() as u64)
}

/// `999`, `18k`: as autocannon's last line.
pub(super) fn thousands(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{}k", (number + 500) / 1000)
}

/// `1 error`, `2,000 errors`.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `33 %`, `0.02 %`; what is not zero is not shown as such.
pub(super) fn percent(share: f64) -> String {
    let hundred = share * 100.0;
    match hundred {
        0.0 => "0 %".to_owned(),
        ..0.01 => "<0.01 %".to_owned(),
        ..0.995 => format!("{hundred:.2} %"),
        ..9.95 => format!("{hundred:.1} %"),
        ..99.5 => format!("{hundred:.0} %"),
        ..100.0 => ">99 %".to_owned(),
        _ => "100 %".to_owned(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is shown with two digits"
)]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// What came from outside, without what would move the cursor or turn the text around.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// The beginning of a text, with a mark if that is not all.
pub(super) fn cut(text: &str, most: usize, glyphs: Glyphs) -> String {
    let mark = match glyphs {
        Glyphs::Unicode => "…",
        Glyphs::Ascii => "~",
    };
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept + mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let took = |micros| took(Duration::from_micros(micros), Glyphs::Unicode);
        assert_eq!(
            [
                0, 83, 999, 1000, 1_239, 12_340, 999_499, 999_500, 12_000_000
            ]
            .map(took),
            [
                "0 µs", "83 µs", "999 µs", "1 ms", "1.24 ms", "12.3 ms", "999 ms", "1 s", "12 s"
            ]
        );
        assert_eq!(
            [0.0, 512.0, 999.6, 99_300.0, 3.28e6, 5e15].map(bytes),
            ["0 B", "512 B", "1 kB", "99.3 kB", "3.28 MB", "5000 TB"]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 1.5, 99.94, 18_234.4].map(rate),
            ["0", "1.5", "99.9", "18,234"]
        );
        assert_eq!(
            [999, 1499, 1500, 18_234].map(thousands),
            ["999", "1k", "2k", "18k"]
        );
    }

    #[test]
    fn a_share_is_not_rounded_to_all_or_nothing() {
        assert_eq!(
            [0.0, 0.000_01, 0.001, 0.05, 0.333, 0.999_9, 1.0].map(percent),
            [
                "0 %", "<0.01 %", "0.10 %", "5.0 %", "33 %", ">99 %", "100 %"
            ]
        );
    }

    #[test]
    fn a_foreign_text_does_not_move_the_cursor() {
        assert_eq!(plain("a\x1b[2J\nä\u{202e}"), "a\\u{1b}[2J\\nä\\u{202e}");
        assert_eq!(cut("abcdef", 4, Glyphs::Ascii), "abc~");
        assert_eq!(cut("abcd", 4, Glyphs::Unicode), "abcd");
    }
}
