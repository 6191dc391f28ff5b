//! Finds and reads `archc.yaml`.

use crate::render;
use archc_compiler::settings::{FILE, Settings};
use archc_compiler::source::SourceMap;
use std::path::{Path, PathBuf};

/// Reads a file, or that which is nearest to a spec or folder; without any, what holds without declarations.
///
/// # Errors
///
/// Says why it cannot be read. What is wrong with its text is shown on standard error.
pub fn load(given: Option<&Path>, spec: &Path) -> Result<Settings, String> {
    let Some(path) = given.map(Path::to_owned).or_else(|| nearest(spec)) else { return Ok(Settings::default()) };
    let name = crate::files::name(&path);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    let mut sources = SourceMap::default();
    let file = sources.add(&name, &text);
    Settings::read(&text, file).map_err(|problems| {
        render::pretty_to_stderr(&problems, &sources);
        let count = problems.len();
        format!("{name}: {count} mistake{}", if count == 1 { "" } else { "s" })
    })
}

/// The file in the folder of a spec, or in the nearest one above that has it.
pub fn nearest(spec: &Path) -> Option<PathBuf> {
    let folder = if spec.is_dir() { spec } else { spec.parent()? };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let own = folder.join(FILE);
    if own.is_file() {
        return Some(own);
    }
    let whole = folder.canonicalize().ok()?;
    whole.ancestors().skip(1).map(|outer| outer.join(FILE)).find(|file| file.is_file())
}
