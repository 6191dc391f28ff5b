//! `archc build`

use crate::args::{Build, Emitted};
use crate::{Outcome, files, output, target};
use archc_compiler::emit::rust::Version;
use archc_compiler::emit::{EmitError, pytorch, rust};
use archc_compiler::ir::Graph;
use archc_compiler::program::Program;

pub fn run(options: &Build) -> Result<Outcome, String> {
    let Some(version) = Version::from_name(&options.burn) else {
        let known = Version::NAMES.join(", ");
        return Err(format!("`--burn {}`: crates can be written for Burn {known}", options.burn));
    };
    if options.bin && options.emitted != Emitted::Burn {
        return Err("`--bin`: only crates on Burn have a program".to_owned());
    }
    if options.kernels && options.emitted != Emitted::Burn {
        return Err("`--kernels`: only crates on Burn can run on them".to_owned());
    }
    if let Some(folder) = &options.out {
        files::may_replace(folder, options.force)?;
    }
    // What cannot be compiled cannot be built: nothing is written.
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Failure) };
    let explain = |error| format!("{}: {error}", options.target.spec);
    let Some(folder) = &options.out else {
        output::print(&single(options, version, &graph, &compiled.program).map_err(explain)?);
        return Ok(Outcome::Clean);
    };
    let written = folder_files(options, version, &graph, &compiled.program).map_err(explain)?;
    files::write_folder(folder, &written)?;
    output::line(format!("{}: {} written with {} files", files::name(folder), graph.name(), written.len()));
    Ok(Outcome::Clean)
}

fn burn(options: &Build, version: Version) -> rust::Options {
    rust::Options { version, program: options.bin, kernels: options.kernels, ..rust::Options::default() }
}

fn single(options: &Build, version: Version, graph: &Graph, program: &Program) -> Result<String, EmitError> {
    match options.emitted {
        Emitted::Burn => rust::emit_single(graph, program, burn(options, version)),
        Emitted::Pytorch => pytorch::emit_single(graph, program, pytorch::Options::default()),
    }
}

fn folder_files(
    options: &Build,
    version: Version,
    graph: &Graph,
    program: &Program,
) -> Result<Vec<(String, String)>, EmitError> {
    match options.emitted {
        Emitted::Burn => Ok(rust::emit(graph, program, burn(options, version))?.files),
        Emitted::Pytorch => pytorch::emit(graph, program, pytorch::Options::default()),
    }
}
