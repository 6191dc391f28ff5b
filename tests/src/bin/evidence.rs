//! Trains the cases of `tests/evidence/cases` and writes `tests/evidence/report.md` and `losses.svg`. With words, only
//! cases whose rule contains one of them are trained, and their table is printed.

use archc_tests::corpus::root;
use archc_tests::experiment::{Case, Outcome, Trial, Variant, all, plot, report, run};
use archc_tests::parallel;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, io};

const SEEDS: u64 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match work(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(2)
        }
    }
}

fn work(words: &[String]) -> Result<(), String> {
    let start = Instant::now();
    let is_asked = |case: &Case| words.is_empty() || words.iter().any(|word| case.rule.contains(word.as_str()));
    let cases: Vec<Case> = all()?.into_iter().filter(is_asked).collect();
    // What cannot be compiled is said before minutes have gone by.
    for case in &cases {
        case.graph(Variant::Flagged)?;
        case.graph(Variant::Fixed)?;
    }
    let trials = train(&cases)?;
    let outcomes: Vec<Outcome<'_>> =
        cases.iter().zip(&trials).map(|(case, trials)| Outcome::of(case, trials)).collect::<Result<_, _>>()?;
    let table = report(&outcomes, SEEDS);
    if words.is_empty() {
        let panels: Vec<(&Case, &[Trial])> = cases.iter().zip(trials.iter().map(Vec::as_slice)).collect();
        let folder = root().join("tests/evidence");
        for (name, text) in [("report.md", table), ("losses.svg", plot(&panels)?)] {
            fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
        }
    } else {
        say(&table);
    }
    say(&format!("{} cases, {SEEDS} seeds, {:.0} s", cases.len(), start.elapsed().as_secs_f64()));
    Ok(())
}

/// Trains cases beside each other: networks this small do not keep several processors busy.
fn train(cases: &[Case]) -> Result<Vec<Vec<Trial>>, String> {
    let trials = parallel::map(cases, |case| {
        let found = run(case, SEEDS);
        say(&case.title());
        found
    });
    trials.into_iter().collect()
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
