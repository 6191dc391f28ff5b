//! `archc ir`

use crate::args::{Ir, IrFormat};
use crate::{Outcome, output, target};

pub fn run(options: &Ir) -> Result<Outcome, String> {
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let sources = &compiled.program.sources;
    let text = match (options.format, options.flat) {
        (IrFormat::Text, false) => graph.to_text(),
        (IrFormat::Text, true) => graph.to_flat_text(),
        (IrFormat::Json, _) => graph.to_json(sources) + "\n",
        (IrFormat::Yaml, _) => graph.to_yaml(sources),
        (IrFormat::Dot, flat) => graph.to_dot(flat),
    };
    output::print(&text);
    Ok(Outcome::Clean)
}
