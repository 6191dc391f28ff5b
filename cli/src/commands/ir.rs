//! `archc ir`

use crate::args::{Ir, IrFormat};
use crate::{Outcome, output, target};
use archc_compiler::ir::Graph;
use archc_compiler::passes::{Optimized, PASSES, SAMPLING};
use archc_compiler::suggest::did_you_mean;

pub fn run(options: &Ir) -> Result<Outcome, String> {
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let Optimized { graph, groups, .. } = match &options.after {
        Some(pass) => after(graph, pass)?,
        None => Optimized::nothing(graph),
    };
    let sources = &compiled.program.sources;
    let text = match (options.format, options.flat) {
        (IrFormat::Text, false) => graph.to_text_with(&groups),
        (IrFormat::Text, true) => graph.to_flat_text_with(&groups),
        (IrFormat::Json, _) => graph.to_json(&groups, sources) + "\n",
        (IrFormat::Yaml, _) => graph.to_yaml(&groups, sources),
        (IrFormat::Dot, flat) => graph.to_dot(&groups, flat),
    };
    output::print(&text);
    Ok(Outcome::Clean)
}

/// The graph after a pass and those before it.
fn after(graph: Graph, pass: &str) -> Result<Optimized, String> {
    if pass == "all" {
        return Ok(Optimized::of(&graph));
    }
    Optimized::up_to(&graph, pass).ok_or_else(|| {
        let passes = || PASSES.iter().chain([&SAMPLING]);
        let names = passes().map(|pass| pass.name).chain(["all"]);
        let hint = did_you_mean(pass, names).map_or(String::new(), |hint| format!("; {hint}"));
        let list: Vec<String> = passes().map(|pass| format!("\n  {}: {}", pass.name, pass.summary)).collect();
        format!("there is no pass `{pass}`{hint}; there are{}", list.concat())
    })
}
