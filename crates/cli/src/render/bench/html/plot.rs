//! A plot: axes, and what is drawn between them, in SVG.

use std::fmt::Write as _;

use super::escaped;

/// Small enough that its text can be read on a phone.
pub(super) const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// How figures become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// From the first to the second, each step a factor.
    Logarithmic(f64, f64),
}

impl Scale {
    /// One with room for all, up to a round figure.
    pub(super) fn linear(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(most);
        Self::Linear((most / step).ceil() * step)
    }

    /// One from the least that is above 0 to the most.
    pub(super) fn logarithmic(figures: impl Iterator<Item = f64>) -> Self {
        let (least, most) = figures
            .filter(|figure| *figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), figure| {
                (least.min(figure), most.max(figure))
            });
        if most <= 0.0 {
            return Self::Logarithmic(1.0, 10.0);
        }
        let below = round(least, f64::floor);
        Self::Logarithmic(below, round(most, f64::ceil).max(below * 2.0))
    }

    /// From 0 at the beginning to 1 at the end.
    fn place(self, figure: f64) -> f64 {
        let place = match self {
            Self::Linear(most) => figure / most,
            Self::Logarithmic(least, most) => {
                (figure.max(least) / least).log10() / (most / least).log10()
            }
        };
        place.clamp(0.0, 1.0)
    }

    /// Round figures on it, not too many.
    fn marks(self) -> Vec<f64> {
        match self {
            Self::Linear(most) => {
                let step = step(most);
                let mut marks = vec![0.0];
                while let Some(last) = marks.last()
                    && last + step <= most * 1.0001
                {
                    marks.push(last + step);
                }
                marks
            }
            Self::Logarithmic(least, most) => {
                let all: &[f64] = match (most / least).log10() {
                    ..2.01 => &[1.0, 2.0, 5.0],
                    _ => &[1.0],
                };
                let mut decade = 10_f64.powf(least.log10().floor());
                let mut marks = Vec::new();
                while decade <= most {
                    let figures = all.iter().map(|digit| digit * decade);
                    marks.extend(figures.filter(|f| *f >= least * 0.999 && *f <= most * 1.001));
                    decade *= 10.0;
                }
                marks
            }
        }
    }
}

/// A round step that leads to the most in about four.
fn step(most: f64) -> f64 {
    let rough = most / 4.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * decade);
    let fitting = steps.into_iter().find(|step| most / step <= 5.0);
    fitting.unwrap_or(decade * 10.0)
}

/// 1, 2 or 5 times a power of ten, on that side.
fn round(figure: f64, side: fn(f64) -> f64) -> f64 {
    let decade = 10_f64.powf(figure.log10().floor());
    let digit = figure / decade;
    let up = side(0.5) > 0.5;
    let digits = [1.0, 2.0, 5.0, 10.0];
    let found = if up {
        digits.into_iter().find(|round| *round >= digit * 0.999)
    } else {
        digits
            .into_iter()
            .rev()
            .find(|round| *round <= digit * 1.001)
    };
    found.unwrap_or(1.0) * decade
}

/// A picture that is being drawn.
#[derive(Debug)]
pub(super) struct Plot {
    svg: String,
    across: Scale,
    up: Scale,
}

impl Plot {
    /// The axes.
    pub(super) fn new(
        label: &str,
        (across, across_text): (Scale, &dyn Fn(f64) -> String),
        (up, up_text): (Scale, &dyn Fn(f64) -> String),
    ) -> Self {
        let label = escaped(label);
        let svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">\n");
        let mut plot = Self { svg, across, up };
        for mark in up.marks() {
            let (y, end) = (plot.y(mark), WIDTH - RIGHT);
            let text = escaped(&up_text(mark));
            plot.add(format_args!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{end}\"/><text x=\"{:.0}\" y=\"{:.1}\" class=\"end\">{text}</text>\n",
                LEFT - 6.0,
                y + 4.0
            ));
        }
        for mark in across.marks() {
            plot.mark(mark, &across_text(mark));
        }
        plot
    }

    /// A text below a place.
    pub(super) fn mark(&mut self, at: f64, text: &str) {
        let (x, y, text) = (self.x(at), HEIGHT - 6.0, escaped(text));
        let class = if x > WIDTH - RIGHT - 12.0 {
            "end"
        } else {
            "middle"
        };
        let x = if class == "end" { WIDTH - 2.0 } else { x };
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>\n"
        ));
    }

    /// A line through points; where there is none it is interrupted.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
        let mut path = String::new();
        let mut pen = 'M';
        let mut alone = None;
        for point in points {
            let Some((x, y)) = point else {
                path += &dot(alone.take());
                pen = 'M';
                continue;
            };
            let place = (self.x(x), self.y(y));
            let _ = write!(path, "{pen}{:.1} {:.1}", place.0, place.1);
            alone = (pen == 'M').then_some(place);
            pen = 'L';
        }
        path += &dot(alone);
        self.add(format_args!(
            "<path class=\"line {class}\" d=\"{path}\"/>\n"
        ));
    }

    /// A filled box; one that is no box for its little height is still seen.
    pub(super) fn area(&mut self, class: &str, (from, to): (f64, f64), (low, high): (f64, f64)) {
        let (x, y) = (self.x(from), self.y(high).min(self.y(low) - 1.5));
        let width = self.x(to) - x;
        let height = if high > low {
            (self.y(low) - y).max(1.5)
        } else {
            0.0
        };
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n"
        ));
    }

    /// What is told when somebody points there.
    pub(super) fn tip(&mut self, (from, to): (f64, f64), text: &str) {
        let x = self.x(from);
        let (width, height) = (self.x(to) - x, HEIGHT - TOP - BOTTOM);
        let lines: Vec<String> = text.lines().map(escaped).collect();
        let text = lines.join("&#10;");
        self.add(format_args!(
            "<rect class=\"tip\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"><title>{text}</title></rect>\n"
        ));
    }

    pub(super) fn end(self) -> String {
        self.svg + "</svg>\n"
    }

    fn x(&self, figure: f64) -> f64 {
        LEFT + self.across.place(figure) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, figure: f64) -> f64 {
        HEIGHT - BOTTOM - self.up.place(figure) * (HEIGHT - TOP - BOTTOM)
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.svg.write_fmt(element);
    }
}

/// A point without neighbours would not be seen.
fn dot(at: Option<(f64, f64)>) -> String {
    at.map_or(String::new(), |(x, y)| format!("M{:.1} {y:.1}h4", x - 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_figures() {
        assert_eq!(Scale::linear(18_234.0), Scale::Linear(20_000.0));
        assert_eq!(Scale::linear(0.0), Scale::Linear(1.0));
        assert_eq!(Scale::linear(20_000.0).marks().len(), 5);
        let figures = [0.0, 83.0, 4_100.0];
        let scale = Scale::logarithmic(figures.into_iter());
        assert_eq!(scale, Scale::Logarithmic(50.0, 5_000.0));
        assert_eq!(scale.marks(), [50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3]);
        let none = Scale::logarithmic(std::iter::empty());
        assert_eq!(none, Scale::Logarithmic(1.0, 10.0));
        let one = Scale::logarithmic([100.0].into_iter());
        assert_eq!(one, Scale::Logarithmic(100.0, 200.0));
    }

    #[test]
    fn places_are_within_the_picture() {
        let scale = Scale::Logarithmic(10.0, 1000.0);
        let places = [1.0, 10.0, 100.0, 1e9].map(|figure| scale.place(figure));
        assert_eq!(places, [0.0, 0.0, 0.5, 1.0]);
    }
}
