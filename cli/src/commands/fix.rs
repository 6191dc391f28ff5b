//! `archc check --fix` and `--diff`

use super::check::Declarations;
use crate::args::Check;
use crate::{files, output, target};
use archc_compiler::fix::{Change, Effect, Outlook, Repair, Repaired, repair};
use archc_compiler::source::Files;
use archc_compiler::{CompileError, Safety};
use similar::TextDiff;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Fixes specs, and writes or shows what became of them; messages are about what could not be done.
pub fn run(options: &Check, specs: &[PathBuf], declared: &Declarations<'_>) -> Result<Vec<String>, String> {
    let settings = target::settings(&options.settings)?;
    let allowed = if options.unsafe_fixes { Safety::Unsafe } else { Safety::Safe };
    // Only what the user has named is changed.
    let named: BTreeSet<String> = specs.iter().map(|path| files::name(path)).collect();
    let mut problems = vec![];
    for path in specs {
        let name = files::name(path);
        let compiler = declared.of_spec(path)?;
        let may_change = |file: &str| named.contains(file);
        match repair(&name, &settings, &Files::default(), &compiler, allowed, &may_change) {
            Ok(repair) => {
                let (written, refused) = keep(&repair, options.diff);
                problems.extend(refused);
                if options.format.is_for_people() {
                    report(&repair, written, options.diff);
                }
            }
            Err(error) => problems.push(format!("{name}: {}", CompileError::Source(error))),
        }
    }
    Ok(problems)
}

/// Writes the files of a repair, all or none of them; says whether it did, and why not.
fn keep(repair: &Repair, only_show: bool) -> (bool, Vec<String>) {
    if only_show || repair.files.is_empty() {
        return (false, vec![]);
    }
    // Whatever can be known to fail is known before the first file is touched.
    let refused: Vec<String> = repair.files.iter().filter_map(|file| untouchable(file).err()).collect();
    if !refused.is_empty() {
        return (false, refused);
    }
    let files: Vec<(&Path, &str, &str)> =
        repair.files.iter().map(|file| (Path::new(&file.name), file.before.as_str(), file.after.as_str())).collect();
    match files::replace_all(&files) {
        Ok(()) => (true, vec![]),
        Err(message) => (false, vec![message]),
    }
}

/// Whether a file still holds what was read, and may be written.
fn untouchable(file: &Repaired) -> Result<(), String> {
    let name = &file.name;
    let text = std::fs::read(name).map_err(|error| format!("{name}: {error}"))?;
    if text != file.before.as_bytes() {
        return Err(format!("{name}: it was changed while it was being fixed; nothing is written, run it again"));
    }
    let metadata = std::fs::metadata(name).map_err(|error| format!("{name}: {error}"))?;
    if metadata.permissions().readonly() {
        return Err(format!("{name}: this file is read-only; nothing is written"));
    }
    Ok(())
}

fn report(repair: &Repair, written: bool, only_show: bool) {
    if only_show {
        for file in &repair.files {
            let diff = TextDiff::from_lines(&file.before, &file.after);
            output::print(&diff.unified_diff().header(&file.name, &file.name).to_string());
        }
    }
    for fix in &repair.applied {
        let squares =
            fix.squares.map(|(before, after)| format!("; mean square {} -> {}", figure(before), figure(after)));
        let word = if written { "fixed" } else { "would fix" };
        let safety = fix.safety.name();
        output::line(format!(
            "{word} {} [{}]: {} ({safety}){}",
            fix.place,
            fix.id,
            fix.title,
            squares.unwrap_or_default()
        ));
    }
    for fix in &repair.refused {
        output::line(format!("not fixed {} [{}]: {}: {}", fix.place, fix.id, fix.title, fix.why));
    }
    if repair.applied.is_empty() {
        return;
    }
    for (before, after) in &repair.outlooks {
        let figures = [(parameters(before), parameters(after)), (mean_square(before), mean_square(after))];
        for (old, new) in figures.iter().filter(|(old, new)| old != new) {
            output::line(format!("  {}: {old} -> {new}", before.name));
        }
    }
    output::line(format!("  {}", sentence(repair.effect)));
}

/// `parameters move at step 1: 4, step 2: 6, never: 12`
fn parameters(outlook: &Outlook) -> String {
    let steps = outlook.steps.iter().map(|(step, count)| format!("step {step}: {count}"));
    let never = (outlook.never > 0).then(|| format!("never: {}", outlook.never));
    format!("parameters first move at {}", steps.chain(never).collect::<Vec<_>>().join(", "))
}

fn mean_square(outlook: &Outlook) -> String {
    outlook.output.map_or("output unknown".to_owned(), |square| format!("output of mean square {}", figure(square)))
}

fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), archc_compiler::words::short)
}

fn sentence(effect: Effect) -> String {
    let change = match effect.change {
        Change::Nothing => "the network computes the same",
        Change::Training => "the network computes the same, and is trained for something else",
        Change::Start => "the network starts differently; with trained weights it computes the same",
        Change::Function => "the network computes something else than before, also with the same weights",
    };
    let weights = if effect.breaks_weights {
        "weights of before no longer load: names or shapes of parameters have changed"
    } else {
        "weights of before still load"
    };
    format!("{change}; {weights}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_meanwhile_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net.arch");
        std::fs::write(&path, "as it was").expect("a file");
        let name = path.to_string_lossy().into_owned();
        let file = Repaired { name, before: "as it was".to_owned(), after: "repaired".to_owned() };
        assert_eq!(untouchable(&file), Ok(()));
        std::fs::write(&path, "as the user has it now").expect("a file");
        assert!(untouchable(&file).is_err_and(|why| why.contains("changed while it was being fixed")));
        std::fs::remove_file(&path).expect("it is there");
        assert!(untouchable(&file).is_err());
    }
}
