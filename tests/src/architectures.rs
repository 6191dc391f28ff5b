//! The table of published networks in the README.

use crate::corpus;
use archc_compiler::analysis::cost::Costs;
use archc_compiler::source::Files;
use archc_compiler::{Options, compile};
use std::collections::BTreeMap;

/// Between these lines the README is generated.
pub const START: &str = "<!-- architectures: UPDATE_PAGES=1 cargo test -p archc-tests --test pages -->\n";
pub const END: &str = "<!-- /architectures -->\n";

/// The README with its table brought up to date.
pub fn readme() -> String {
    let text = corpus::read("README.md");
    match (text.split_once(START), text.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{START}{}{END}{after}", table()),
        _ => text,
    }
}

/// A network of the table.
struct Row {
    id: String,
    /// The spec, under `specs`.
    spec: String,
    /// Of outputs and gradients, where there is something to compare with.
    errors: Option<(String, String)>,
}

/// One row for each network of the reference, and for specs that nothing is released for.
fn rows() -> Vec<Row> {
    let figures = corpus::read("tests/reference/figures.tsv");
    let figure = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        Some((fields.next()?, (fields.next()?, fields.next()?)))
    };
    let figures: BTreeMap<String, (String, String)> = figures.lines().filter_map(figure).collect();
    let described = corpus::files("tests/reference/tiny", "yaml");
    let of = |path: &String| {
        let id = path.split('/').rev().nth(1)?.to_owned();
        let text = corpus::read(path);
        let spec = text.lines().find_map(|line| line.strip_prefix("spec: "))?.to_owned();
        Some(Row { errors: figures.get(&id).cloned(), id, spec })
    };
    let mut rows: Vec<Row> = described.iter().filter_map(of).collect();
    let all = corpus::files("specs", "arch");
    let specs = all.iter().filter_map(|path| path.strip_prefix("specs/")).filter(|path| !path.contains('/'));
    let own: Vec<Row> = specs
        .filter(|spec| rows.iter().all(|row| row.spec != **spec))
        .filter_map(|spec| Some(Row { id: first_preset(spec)?, spec: spec.to_owned(), errors: None }))
        .collect();
    rows.extend(own);
    rows.sort_by(|a, b| (&a.spec, &a.id).cmp(&(&b.spec, &b.id)));
    rows
}

fn first_preset(spec: &str) -> Option<String> {
    let text = corpus::read(&format!("specs/{spec}"));
    let name = text.lines().find_map(|line| line.strip_prefix("preset "))?;
    name.split_whitespace().next().map(str::to_owned)
}

fn table() -> String {
    let mut text = "| network | spec | lines | parameters | FLOPs | outputs | gradients |\n\
                    |---|---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for row in rows() {
        let lines = corpus::read(&format!("specs/{}", row.spec)).lines().count();
        let (parameters, flops) = cost(&row);
        let (outputs, gradients) = row.errors.clone().unwrap_or_else(|| ("-".to_owned(), "-".to_owned()));
        let spec = format!("[`{}`](specs/{})", row.spec, row.spec);
        text.push_str(&format!(
            "| `{}` | {spec} | {lines} | {parameters} | {flops} | {outputs} | {gradients} |\n",
            row.id
        ));
    }
    text
}

/// Elements of all parameters, and floating-point operations for one sample of the usual size.
fn cost(row: &Row) -> (String, String) {
    let files = Files::under(corpus::root().join("specs"));
    let compiled = compile(&row.spec, Some(&row.id), &[], &files, &Options::default());
    let Some(graph) = compiled.ok().and_then(|compiled| compiled.graph) else {
        return ("does not compile".to_owned(), String::new());
    };
    let flops = Costs::of(&graph, &graph.typical).map(|costs| costs.total().flops);
    (grouped(graph.parameter_elements()), flops.map_or("open".to_owned(), scaled))
}

/// `2,028,328,000`
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let places = digits.len();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (places - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.05 T`
fn scaled(value: u64) -> String {
    let units = ["", " k", " M", " G", " T", " P"];
    let mut number = value as f64;
    let mut unit = units.iter();
    let mut own = unit.next();
    while number >= 999.5 {
        number /= 1000.0;
        own = unit.next().or(own);
    }
    let decimals = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    format!("{number:.decimals$}{}", own.copied().unwrap_or_default())
}
