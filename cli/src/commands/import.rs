//! `archc import`

use crate::args::Import;
use crate::{Outcome, files, output, render};
use archc_compiler::CompileError;
use archc_compiler::import::import;
use archc_compiler::source::{Files, Sources};
use std::path::Path;

pub fn run(options: &Import) -> Result<Outcome, String> {
    let name = files::name(&options.config);
    let text = Files::default().read(&name).map_err(|error| format!("{name}: {}", CompileError::Source(error)))?;
    let imported = import(&name, &text, &preset_name(options));
    let Some(spec) = imported.spec else {
        render::pretty_to_stderr(&imported.diagnostics, &imported.sources);
        return Ok(Outcome::Findings);
    };
    match &options.output {
        None => output::print(&spec.text),
        Some(path) => {
            files::write(path, &spec.text)?;
            output::line(format!("{}#{} written", files::name(path), spec.preset));
        }
    }
    Ok(Outcome::Clean)
}

/// Names that many configurations have, and that say nothing of one.
const COMMON: &[&str] = &["config", "model", "transformer", "unet", "vae", "text_encoder", "text_encoder_2"];

/// What the preset is called: as the spec that is asked for, or as the configuration, or as a folder around it.
fn preset_name(options: &Import) -> String {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if let Some(name) = options.output.as_deref().and_then(stem) {
        return name;
    }
    let path = std::path::absolute(&options.config).unwrap_or(options.config.clone());
    let folders = path.ancestors().skip(1).filter_map(|folder| folder.file_name()).map(|name| name.to_string_lossy());
    let own = stem(&path).into_iter();
    let mut names = own.chain(folders.take(2).map(|name| name.into_owned()));
    names.find(|name| !COMMON.contains(&name.as_str())).unwrap_or_else(|| "imported".to_owned())
}
