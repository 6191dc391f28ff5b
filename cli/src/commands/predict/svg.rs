//! Predictions as a picture: the stream and the gradients from block to block, on logarithmic axes.

use super::report::{Block, Level, Prediction};
use super::text::figure;
use archc_compiler::analysis::moments::Class;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 132.0;
const RIGHT: f64 = 1176.0;
/// Top and bottom of the panels.
const FORWARD: (f64, f64) = (118.0, 322.0);
const BACKWARD: (f64, f64) = (366.0, 570.0);
/// Room that the name of a block needs along the axis.
const NAME: f64 = 15.0;

/// From low noise to high.
const COLOURS: [&str; 6] = ["#30296b", "#31688e", "#21918c", "#5dab3c", "#d9a300", "#d1495b"];

/// Promises that are drawn in shapes of their own; what promises more is drawn as the first.
const MARKS: [Class; 3] = [Class::Within5, Class::Within15, Class::Factor2];

pub fn draw(prediction: &Prediction) -> String {
    let stream: Vec<&Block> = prediction.blocks.iter().filter(|block| block.stream).collect();
    let names = stream.iter().map(|block| block.path.chars().count()).max().unwrap_or(0).min(44);
    // Names hang down at an angle.
    let height = BACKWARD.1 + 46.0 + 4.6 * names as f64;
    let mut picture = Picture(String::new());
    let _ = write!(
        picture.0,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"12\" \
         fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    picture.text(LEFT, 34.0, "start", "font-size=\"20\" font-weight=\"600\" fill=\"#111\"", &prediction.model);
    picture.text(LEFT, 54.0, "start", "fill=\"#666\"", "signal and gradients at initialisation, predicted by archc");
    legend(&mut picture, prediction);
    let across = Across { count: stream.len() };
    findings(&mut picture, &stream, &across);
    let panels: [Panel<'_>; 2] = [
        ("mean square of the stream", FORWARD, |level| level.output),
        ("gradient gain of each block", BACKWARD, |level| level.gain),
    ];
    for (title, place, value) in panels {
        panel(&mut picture, prediction, &stream, &across, (title, place, value));
    }
    block_names(&mut picture, &stream, &across);
    picture.0.push_str("</svg>\n");
    picture.0
}

struct Picture(String);

impl Picture {
    fn text(&mut self, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>");
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        let _ = writeln!(self.0, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>");
    }

    /// A figure, in the shape of its promise.
    fn mark(&mut self, (x, y): (f64, f64), class: Option<Class>, colour: &str) {
        let _ = match class {
            Some(Class::Exact | Class::InExpectation | Class::Within5) => {
                writeln!(self.0, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\" fill=\"{colour}\"/>")
            }
            Some(Class::Within15) => writeln!(
                self.0,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.4\" height=\"6.4\" fill=\"{colour}\" \
                 transform=\"rotate(45 {x:.1} {y:.1})\"/>",
                x - 3.2,
                y - 3.2
            ),
            Some(Class::Factor2) => writeln!(
                self.0,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" fill=\"#fff\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"
            ),
            None => writeln!(
                self.0,
                "<path d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
                x - 3.0,
                y - 3.0
            ),
        };
    }
}

/// Places of blocks along the axis.
struct Across {
    count: usize,
}

impl Across {
    fn step(&self) -> f64 {
        (RIGHT - LEFT) / self.count.max(1) as f64
    }

    fn of(&self, block: usize) -> f64 {
        LEFT + (block as f64 + 0.5) * self.step()
    }
}

fn colour(level: usize, levels: usize) -> &'static str {
    let at = if levels <= 1 { 1 } else { level * (COLOURS.len() - 1) / (levels - 1) };
    COLOURS.get(at).copied().unwrap_or("#31688e")
}

fn legend(picture: &mut Picture, prediction: &Prediction) {
    let mut x = RIGHT;
    for class in MARKS.into_iter().rev() {
        picture.text(x, 34.0, "end", "fill=\"#666\"", class.name());
        x -= 6.4 * class.name().len() as f64 + 12.0;
        picture.mark((x, 30.0), Some(class), "#666");
        x -= 16.0;
    }
    picture.text(x, 34.0, "end", "fill=\"#666\"", "promise:");
    let levels = prediction.sigmas.len();
    let mut x = RIGHT;
    for (level, sigma) in prediction.sigmas.iter().enumerate().rev() {
        let name = sigma.map_or("white noise".to_owned(), |sigma| format!("σ = {}", short(sigma)));
        picture.text(x, 54.0, "end", "", &name);
        x -= 6.6 * name.chars().count() as f64 + 8.0;
        let style = format!("stroke=\"{}\" stroke-width=\"3\"", colour(level, levels));
        picture.line((x - 18.0, 50.0), (x, 50.0), &style);
        x -= 36.0;
    }
}

fn short(value: f64) -> String {
    if (1e-3..1e4).contains(&value) { format!("{value}") } else { format!("{value:e}") }
}

/// Where rules have found something: a band over the blocks, from the first to the last that touch.
fn findings(picture: &mut Picture, stream: &[&Block], across: &Across) {
    let mut rules: Vec<&String> = stream.iter().flat_map(|block| &block.findings).collect();
    rules.sort();
    rules.dedup();
    for (row, rule) in rules.iter().enumerate() {
        let has = |at: usize| stream.get(at).is_some_and(|block| block.findings.contains(rule));
        let (mut at, mut named) = (0, false);
        while at < stream.len() {
            if !has(at) {
                at += 1;
                continue;
            }
            let first = at;
            while has(at) {
                at += 1;
            }
            let (left, right) = (across.of(first) - 0.5 * across.step(), across.of(at - 1) + 0.5 * across.step());
            let _ = writeln!(
                picture.0,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d1495b\" opacity=\"0.09\"/>",
                FORWARD.0,
                right - left,
                BACKWARD.1 - FORWARD.0
            );
            let y = 82.0 + 14.0 * (row % 2) as f64;
            picture.line((left, y + 4.0), (right, y + 4.0), "stroke=\"#d1495b\" stroke-width=\"2\"");
            if !named {
                let (x, anchor) = if left > 0.7 * RIGHT { (right, "end") } else { (left, "start") };
                picture.text(x, y, anchor, "font-size=\"11\" fill=\"#b3303f\"", rule);
                named = true;
            }
        }
    }
}

type Panel<'a> = (&'a str, (f64, f64), fn(&Level) -> Option<f64>);

fn panel(
    picture: &mut Picture,
    prediction: &Prediction,
    stream: &[&Block],
    across: &Across,
    (title, (top, bottom), value): Panel<'_>,
) {
    let values = || stream.iter().flat_map(|block| block.levels.iter().filter_map(value));
    let scale = Scale::of(values().filter(|value| *value > 0.0), top, bottom);
    for (tick, name) in scale.ticks() {
        let y = scale.place(tick);
        let style = if tick == 1.0 { "stroke=\"#999\"" } else { "stroke=\"#e4e4e4\"" };
        picture.line((LEFT, y), (RIGHT, y), style);
        picture.text(LEFT - 8.0, y + 4.0, "end", "fill=\"#666\" font-size=\"11\"", &name);
    }
    picture.text(LEFT, top - 10.0, "start", "font-size=\"13\" font-weight=\"600\" fill=\"#111\"", title);
    let levels = prediction.sigmas.len();
    for level in 0..levels {
        let colour = colour(level, levels);
        let figures: Vec<Option<&Level>> = stream.iter().map(|block| block.levels.get(level)).collect();
        let known = |at: usize| figures.get(at).copied().flatten().and_then(value).filter(|value| *value > 0.0);
        let mut path = String::new();
        for at in 0..figures.len() {
            if let Some(value) = known(at) {
                let word = if at > 0 && known(at - 1).is_some() { 'L' } else { 'M' };
                let _ = write!(path, "{word}{:.1} {:.1}", across.of(at), scale.place(value));
            }
        }
        let _ = writeln!(
            picture.0,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{:.1}\" stroke-linejoin=\"round\"/>",
            // Lines on top of each other stay visible.
            1.8 + 2.2 * (levels - 1 - level) as f64
        );
        for (at, figure) in figures.iter().enumerate() {
            let (class, place) = match figure.and_then(value) {
                None => (None, bottom - 6.0),
                // Nothing has no logarithm: at the very bottom.
                Some(0.0) => (figure.and_then(|level| level.class), bottom),
                Some(value) => (figure.and_then(|level| level.class), scale.place(value)),
            };
            picture.mark((across.of(at), place), class, colour);
        }
    }
    let last = |value: fn(&Level) -> Option<f64>| stream.last()?.levels.iter().filter_map(value).next_back();
    if let (1, Some(end)) = (levels, last(value).filter(|value| *value > 0.0)) {
        picture.text(RIGHT, scale.place(end) - 9.0, "end", "font-size=\"11\" fill=\"#111\"", &figure(end));
    }
}

/// A logarithmic axis, over whole decades, or over parts of one.
struct Scale {
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, top: f64, bottom: f64) -> Self {
        let range = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            let value = value.log10();
            (low.min(value), high.max(value))
        });
        let (low, high) = if range.0 <= range.1 { range } else { (0.0, 0.0) };
        // One is where nothing grows or shrinks.
        let (low, high) = (low.min(0.0), high.max(0.0));
        let air = 0.08 * (high - low).max(0.5);
        Self { low: low - air, high: high + air, top, bottom }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let decades = self.high - self.low;
        let every = ((decades / 6.0).ceil() as i32).max(1);
        let steps: &[f64] = if decades < 1.2 {
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
        } else if decades < 2.5 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let powers = (self.low.floor() as i32..=self.high.ceil() as i32).filter(|power| power % every == 0);
        let all = powers.flat_map(|power| steps.iter().map(move |step| (*step, power)));
        let tick = |(step, power): (f64, i32)| (step * 10f64.powi(power), step, power);
        all.map(tick)
            .filter(|(value, ..)| (self.low..=self.high).contains(&value.log10()))
            .map(|(value, step, power)| (value, name(step, power)))
            .collect()
    }
}

fn name(step: f64, power: i32) -> String {
    if (-2..=3).contains(&power) {
        return format!("{}", step * 10f64.powi(power));
    }
    let digit = |digit: char| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or('?'),
    };
    let power: String = power.to_string().chars().map(digit).collect();
    if step == 1.0 { format!("10{power}") } else { format!("{step}·10{power}") }
}

fn block_names(picture: &mut Picture, stream: &[&Block], across: &Across) {
    let every = (NAME / across.step()).ceil().max(1.0) as usize;
    for (at, block) in stream.iter().enumerate().step_by(every) {
        let name = if block.path.is_empty() { &block.name } else { &block.path };
        let cut = name.chars().count().saturating_sub(44);
        let name: String =
            if cut > 0 { format!("…{}", name.chars().skip(cut + 1).collect::<String>()) } else { name.clone() };
        let (x, y) = (across.of(at) + 4.0, BACKWARD.1 + 18.0);
        picture.line((across.of(at), BACKWARD.1 + 4.0), (across.of(at), BACKWARD.1 + 9.0), "stroke=\"#999\"");
        let style = format!("font-size=\"11\" transform=\"rotate(-38 {x:.1} {y:.1})\"");
        picture.text(x, y, "end", &style, &name);
    }
}
