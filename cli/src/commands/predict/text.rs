//! Predictions as text.

use super::report::{Line, Prediction, Range};
use crate::output;
use archc_compiler::analysis::moments::Class;
use archc_compiler::analysis::preconditioning::{Claim, Identities};

/// By block; with several noise levels, `-> out` and `<- gain` at each.
pub fn table(prediction: &Prediction) -> String {
    let several = prediction.sigmas.len() > 1;
    let mut header: Vec<String> = ["block", ""].map(str::to_owned).to_vec();
    for sigma in &prediction.sigmas {
        let at = sigma.filter(|_| several).map_or(String::new(), |sigma| format!(" at {}", figure(sigma)));
        let names: &[&str] = if several { &["->", "<-"] } else { &["in", "-> out", "<- gain"] };
        header.extend(names.iter().map(|name| format!("{name}{at}")));
    }
    header.push("promise".to_owned());
    let numeric: Vec<usize> = (2..header.len() - 1).collect();
    let rows = prediction.blocks.iter().map(|block| {
        let path = if block.path.is_empty() { "(model)" } else { &block.path };
        let mut row = vec![path.to_owned(), block.name.clone()];
        for level in &block.levels {
            row.extend((!several).then(|| cell(level.input)));
            row.extend([level.output, level.gain].map(cell));
        }
        let class = block.levels.iter().map(|level| level.class).max().flatten();
        row.push(class.map_or("unknown", Class::name).to_owned());
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut text = format!("{}: mean squares at initialisation\n\n", prediction.model);
    text.push_str(&output::table(&header, &rows, &numeric));
    for missing in &prediction.unknown {
        text.push_str(&format!("\n{} of {} values unknown: {}", missing.values, prediction.values, missing.reason));
    }
    text.push_str(if several {
        "\n`->`: mean square of what the block makes; `<-`: that of a gradient before the block, for one behind it\n"
    } else {
        "\n`<- gain`: the mean square of a gradient before the block, for one behind it\n"
    });
    if let Some(found) = &prediction.preconditioning {
        text.push_str(&preconditioning(found));
    }
    for (sigma, precision) in prediction.sigmas.iter().zip(&prediction.precision) {
        if let Some(sigma) = sigma.filter(|_| several) {
            text.push_str(&format!("\nat {}", figure(sigma)));
        }
        text.push_str(&precision.table());
    }
    text
}

/// What EDM's preconditioning is for, with how it is known.
fn preconditioning(found: &Identities) -> String {
    let claims = [("the input", Some(found.input)), ("the target", Some(found.target)), ("the loss", found.weight)];
    let claims = claims.into_iter().filter_map(|(name, claim)| {
        let Claim { proved, sigma, value } = claim?;
        let said = match (proved, figure(value).as_str()) {
            (true, _) => "1 at every sigma, proved".to_owned(),
            (false, "1.000") => "1 at all levels that were looked at".to_owned(),
            (false, value) => format!("as far from 1 as {value}, at sigma {}", figure(sigma)),
        };
        Some(format!("  {name:<10}  {said}\n"))
    });
    let head = format!("\npreconditioning for data of deviation {}: variances and weight\n", figure(found.sigma_data));
    std::iter::once(head).chain(claims).collect()
}

/// By line of the source.
pub fn lines(prediction: &Prediction) -> String {
    let notes: Vec<String> = prediction.lines.iter().map(note).collect();
    let width = notes.iter().map(|note| note.chars().count()).max().unwrap_or(0);
    let (mut text, mut file) = (String::new(), "");
    for (line, note) in prediction.lines.iter().zip(&notes) {
        if line.file != file {
            file = &line.file;
            text.push_str(&format!("{file}\n"));
        }
        text.push_str(&format!("{:>5}  {note:<width$}  {}\n", line.line, line.text));
        for rule in &line.findings {
            text.push_str(&format!("{:>5}  {:<width$}  ^ {rule}\n", "", ""));
        }
    }
    text.push_str("\nmean squares at initialisation: `->` of what the line makes, `<-` of its gradient for unit\n");
    text.push_str("cotangents at the end of the block; `~` within 15 %, `?` a factor of two\n");
    text
}

fn note(line: &Line) -> String {
    let mark = match line.class {
        Class::Exact | Class::InExpectation | Class::Within5 => "",
        Class::Within15 => "~",
        Class::Factor2 => "?",
    };
    let backward = line.backward.map_or(String::new(), |range| format!(", <- {}", span(range)));
    format!("({mark}-> {}{backward})", span(line.forward))
}

fn span(range: Range) -> String {
    if range.most - range.least <= 0.005 * range.most {
        figure(range.most)
    } else {
        format!("{} .. {}", figure(range.least), figure(range.most))
    }
}

fn cell(value: Option<f64>) -> String {
    value.map_or("?".to_owned(), figure)
}

/// Three digits.
pub fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if !(1e-3..1e5).contains(&value) => format!("{value:.1e}"),
        _ if value < 10.0 => format!("{value:.3}"),
        _ if value < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
