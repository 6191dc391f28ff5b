//! Losses of all trials, a panel for each case: flagged in red, fixed in blue, a line for each seed.

use super::case::Case;
use super::trial::Trial;
use archc_runtime::train::Experiment;
use plotters::prelude::*;

const COLUMNS: usize = 4;
const PANEL: (u32, u32) = (300, 200);
/// Updates that a point of a line is the mean of.
const WINDOW: usize = 10;

/// The picture as SVG.
pub fn plot(cases: &[(&Case, &[Trial])]) -> Result<String, String> {
    let rows = cases.len().div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        for ((case, trials), area) in cases.iter().zip(root.split_evenly((rows, COLUMNS))) {
            panel(&area, case, trials).map_err(|error| format!("{}: {error}", case.rule))?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, case: &Case, trials: &[Trial]) -> Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<(RGBColor, Vec<(f64, f64)>)> =
        trials.iter().flat_map(|trial| [(RED, smooth(&trial.flagged)), (BLUE, smooth(&trial.fixed))]).collect();
    let values = || lines.iter().flat_map(|(_, line)| line.iter().map(|(_, loss)| *loss));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let (low, high) = if low < high { (low, high) } else { (1e-3, 1.0) };
    let updates =
        trials.iter().map(|trial| trial.flagged.losses.len().max(trial.fixed.losses.len())).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(case.title(), ("sans-serif", 13))
        .margin(6)
        .x_label_area_size(18)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..updates as f64, (low / 1.05..high * 1.05).log_scale())?;
    let loss = |value: &f64| if (0.01..100.0).contains(value) { format!("{value:.2}") } else { format!("{value:.0e}") };
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(3)
        .y_labels(4)
        .y_label_formatter(&loss)
        .x_label_formatter(&|update| format!("{update:.0}"))
        .draw()?;
    for (colour, line) in lines {
        chart.draw_series(LineSeries::new(line, colour))?;
    }
    Ok(())
}

/// Means over windows of updates, where they are finite.
fn smooth(found: &Experiment) -> Vec<(f64, f64)> {
    let windows = found.losses.chunks(WINDOW).enumerate();
    let points = windows.map(|(at, window)| {
        let middle = (at * WINDOW) as f64 + window.len() as f64 / 2.0;
        (middle, window.iter().sum::<f64>() / window.len() as f64)
    });
    points.filter(|(_, loss)| loss.is_finite() && *loss > 0.0).collect()
}
