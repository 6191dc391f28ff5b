//! `archc verify`

use super::run::open_sizes;
use super::sample::progress;
use crate::args::{ReportFormat, Verify};
use crate::{Outcome, output, target};
use archc_runtime::plan::Bindings;
use archc_runtime::verify::{Comparison, verify};
use std::sync::Arc;

pub fn run(options: &Verify) -> Result<Outcome, String> {
    let Some((_, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let missing = open_sizes(&graph);
    if !missing.is_empty() {
        return Err(format!("the inputs need sizes: give {}", missing.join(" ")));
    }
    let bindings = Bindings { batch: options.batch as usize, sizes: graph.typical.clone() };
    let graph = Arc::new(graph);
    let bar = progress("verifying");
    let watch = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let found = verify(&graph, &bindings, options.device.into(), options.seed, watch);
    bar.finish_and_clear();
    let found = found.map_err(|error| error.to_string())?;
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => output::print(&text(&found)),
    }
    let holds = found.iter().all(|comparison| comparison.holds);
    Ok(if holds { Outcome::Clean } else { Outcome::Findings })
}

fn text(found: &[Comparison]) -> String {
    let row = |own: &Comparison| {
        let shapes: Vec<String> = own.shapes.iter().map(|shape| format!("{shape:?}")).collect();
        vec![
            own.operator.clone(),
            shapes.join(" "),
            own.places.to_string(),
            format!("{:.0e}", own.result),
            own.gradients.map_or_else(String::new, |difference| format!("{difference:.0e}")),
            if own.holds { String::new() } else { format!("differs, first at {}", own.place) },
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let header = ["operator", "shapes", "places", "result", "gradients", ""];
    let broken = found.iter().filter(|own| !own.holds).count();
    let verdict = match broken {
        0 => format!("all {} agree with the reference\n", found.len()),
        _ => format!("{broken} of {} differ from the reference\n", found.len()),
    };
    output::table(&header, &rows, &[2, 3, 4]) + &verdict
}
