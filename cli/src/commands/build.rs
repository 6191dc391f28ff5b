//! `archc build`

use crate::args::Build;
use crate::{Outcome, files, output, target};
use archc_compiler::emit::rust::{Options, Version, emit, emit_single};

pub fn run(options: &Build) -> Result<Outcome, String> {
    let Some(version) = Version::from_name(&options.burn) else {
        let known = Version::NAMES.join(", ");
        return Err(format!("`--burn {}`: crates can be written for Burn {known}", options.burn));
    };
    if let Some(folder) = &options.out {
        files::may_replace(folder, options.force)?;
    }
    // What cannot be compiled cannot be built: nothing is written.
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Failure) };
    let emit_options = Options { version, program: options.bin, ..Options::default() };
    let explain = |error| format!("{}: {error}", options.target.spec);
    let Some(folder) = &options.out else {
        output::print(&emit_single(&graph, &compiled.program, emit_options).map_err(explain)?);
        return Ok(Outcome::Clean);
    };
    let package = emit(&graph, &compiled.program, emit_options).map_err(explain)?;
    files::write_folder(folder, &package.files)?;
    output::line(format!("{}: {} written with {} files", files::name(folder), graph.name(), package.files.len()));
    Ok(Outcome::Clean)
}
