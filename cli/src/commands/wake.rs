//! `archc probe --wake-up`

use crate::args::{Probe, ReportFormat};
use crate::{Outcome, output};
use archc_compiler::analysis::liveness::Wake;
use archc_compiler::ir::Graph;
use archc_runtime::wake::{self, Awakening};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    /// Steps that were made.
    steps: u32,
    parameters: Vec<Row>,
    broken: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    path: String,
    predicted: Wake,
    /// The first step with a gradient, if there was one.
    measured: Option<u32>,
    held: bool,
}

pub fn run(options: &Probe, graph: &Arc<Graph>) -> Result<Outcome, String> {
    let measured = wake::measure(graph, 0, options.batch as usize, options.steps).map_err(|error| error.to_string())?;
    let row = |own: Awakening| Row {
        path: graph.parameter(own.parameter).path.to_string(),
        predicted: own.predicted,
        measured: own.measured,
        held: own.holds(options.steps),
    };
    let parameters: Vec<Row> = measured.into_iter().map(row).collect();
    let broken = parameters.iter().filter(|row| !row.held).count();
    let report = Report { model: graph.name().to_owned(), steps: options.steps, parameters, broken };
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => output::print(&text(&report)),
    }
    Ok(if report.broken == 0 { Outcome::Clean } else { Outcome::Findings })
}

fn text(report: &Report) -> String {
    let mut groups: BTreeMap<(u32, String), (usize, usize)> = BTreeMap::new();
    for row in &report.parameters {
        let order = if let Wake::Step(step) = row.predicted { step } else { u32::MAX };
        let (count, held) = groups.entry((order, row.predicted.to_string())).or_default();
        *count += 1;
        *held += usize::from(row.held);
    }
    let row = |((_, step), (count, held)): (&(u32, String), &(usize, usize))| {
        vec![step.clone(), count.to_string(), held.to_string()]
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    let mut text = format!("{}: when parameters first move, in {} steps\n\n", report.model, report.steps);
    text.push_str(&output::table(&["predicted step", "parameters", "measured the same"], &rows, &[1, 2]));
    if report.broken > 0 {
        let broken = report.parameters.iter().filter(|row| !row.held).take(30);
        let row = |row: &Row| {
            let measured = row.measured.map_or_else(|| "never".to_owned(), |step| step.to_string());
            vec![row.path.clone(), row.predicted.to_string(), measured]
        };
        let rows: Vec<Vec<String>> = broken.map(row).collect();
        text.push('\n');
        text.push_str(&output::table(&["claim broken", "predicted", "measured"], &rows, &[1, 2]));
    }
    text
}
