//! `archc config`

use crate::args::Config;
use crate::{Outcome, files, output, settings};
use archc_compiler::settings::schema;

pub fn run(options: &Config) -> Result<Outcome, String> {
    let Some(path) = &options.path else {
        output::line(serde_json::to_string_pretty(schema()).map_err(|error| error.to_string())?);
        return Ok(Outcome::Clean);
    };
    if !path.exists() {
        return Err(format!("{}: there is no such file or folder", path.display()));
    }
    let declared = settings::load(None, path)?;
    match settings::nearest(path) {
        Some(file) => output::line(files::name(&file)),
        None => output::line("nothing is declared: there is no archc.yaml in this folder or above it"),
    }
    for (rule, level) in &declared.levels.0 {
        output::line(format!("{rule}: {}", level.map_or("allow", |level| level.name())));
    }
    if let Some(format) = declared.dtype {
        output::line(format!("dtype: {}", format.name()));
    }
    Ok(Outcome::Clean)
}
