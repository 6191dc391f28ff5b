//! Prints what the process of a spec teaches at some draws, as JSON: for `tests/pytorch`.
//!
//! ```text
//! lessons FILE#NAME DRAW..
//! ```

use archc_compiler::source::Files;
use archc_compiler::{Options, compile};
use archc_process::Lessons;
use std::io::Write;
use std::process::ExitCode;
use std::{env, io};

fn main() -> ExitCode {
    match lessons(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(2)
        }
    }
}

fn lessons(arguments: &[String]) -> Result<String, String> {
    let (spec, draws) = arguments.split_first().ok_or("which spec?")?;
    let (file, name) = spec.split_once('#').map_or((spec.as_str(), None), |(file, name)| (file, Some(name)));
    let compiled =
        compile(file, name, &[], &Files::default(), &Options::default()).map_err(|error| error.to_string())?;
    let declared = compiled.graph.as_ref().and_then(|graph| graph.process.as_ref()).ok_or("it declares no process")?;
    let lessons = Lessons::of(&declared.process).map_err(|error| error.to_string())?;
    let mut found = vec![];
    for draw in draws {
        let draw: f64 = draw.parse().map_err(|error| format!("{draw}: {error}"))?;
        let own = lessons.drawn(draw).map_err(|error| error.to_string())?;
        found.push(serde_json::json!([own.told, own.input.0, own.input.1, own.target.0, own.target.1, own.weight]));
    }
    Ok(serde_json::Value::from(found).to_string())
}
