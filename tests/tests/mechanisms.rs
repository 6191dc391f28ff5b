//! The page of mechanisms: what it says is written somewhere is written there.

use archc_compiler::ops::{Affine, Op};
use archc_compiler::{FileId, Options, compile};
use archc_tests::corpus;

struct Row {
    mechanism: String,
    /// Parts of the call as it is written; what `..` stands for may be anything.
    written: Vec<String>,
    spec: String,
}

/// Without blanks, so that a call may be broken into lines.
fn dense(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect::<String>().replace(",)", ")")
}

/// Rows that end in a link to a spec.
fn rows(page: &str) -> Vec<Row> {
    let lines = page.lines().filter(|line: &&str| line.starts_with("| ") && line.contains("](examples/mechanisms/"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[mechanism, _, written, link] = cells.as_slice() else { return None };
        let written = dense(written.trim_matches('`'));
        let spec = link.split(['(', ')']).nth(1).unwrap_or_default();
        Some(Row {
            mechanism: mechanism.to_owned(),
            written: written.split("..").map(str::to_owned).collect(),
            spec: format!("specs/{spec}"),
        })
    };
    lines.map(|line| row(line).ok_or(line).expect("a row has four cells")).collect()
}

#[test]
fn every_mechanism_is_written_where_the_page_says() {
    let rows = rows(&corpus::read("specs/mechanisms.md"));
    assert!(rows.len() > 40, "{} rows", rows.len());
    let missing = missing(&rows);
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn every_spec_of_mechanisms_is_on_the_page() {
    let page = corpus::read("specs/mechanisms.md");
    let specs = corpus::files("specs/examples/mechanisms", "arch");
    let missing: Vec<&String> =
        specs.iter().filter(|spec| !page.contains(spec.strip_prefix("specs/").unwrap_or(spec))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Rows of which some part is not written in their specs.
fn missing(rows: &[Row]) -> Vec<String> {
    let is_written = |row: &&Row| {
        let source = dense(&corpus::read(&row.spec));
        let behind = |rest: String, part: &String| rest.split_once(part.as_str()).map(|(_, rest)| rest.to_owned());
        let rest = row.written.iter().try_fold(source, behind);
        rest.is_some()
    };
    let missing = rows.iter().filter(|row| !is_written(row));
    missing.map(|row| format!("{}: {} lacks `{}`", row.mechanism, row.spec, row.written.join(".."))).collect()
}

#[test]
fn a_call_that_is_nowhere_is_missed() {
    let row = "| gate | `x` | `gate: softmax_gate(..)` | [gates](examples/mechanisms/gates.arch) |";
    assert_eq!(missing(&rows(row)).len(), 1);
}

/// How many values of a published network are multiplied by `sqrt(0.5)`, and how many operations it has.
fn scaled(spec: &str, model: &str, settings: &[(&str, &str)]) -> (usize, usize) {
    let expression = |value: &str| archc_grammar::parse_expression(value, FileId(u32::MAX)).expect("an expression");
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), expression(value))).collect();
    let text = corpus::read(spec);
    let compiled = compile(spec, Some(model), &settings, &[(spec, text.as_str())], &Options::default());
    let graph = compiled.expect("the spec is there").graph.expect("nothing is wrong with it");
    let is_scaled = |op: &Op| matches!(op, Op::Affine(Affine { scale, .. }) if (scale - 0.5_f64.sqrt()).abs() < 1e-9);
    let count = graph.node_ids().filter(|id| graph.node(*id).op().is_some_and(is_scaled)).count();
    (count, graph.node_count())
}

/// The last table of the page: variants of the textbooks, one setting away from the released networks.
#[test]
fn textbook_variants_are_hyperparameters() {
    let adm = |settings: &[(&str, &str)]| scaled("specs/adm.arch", "adm_imagenet64", settings);
    let (released, size) = adm(&[]);
    let (textbook, larger) = adm(&[("rescale", "sqrt(0.5)")]);
    assert!(released == 0 && textbook > 50, "{released}, {textbook}");
    assert_eq!(larger, size + textbook, "nothing else changes");
    for variant in [("resize", "\"conv\""), ("resize", "\"plain\""), ("scale_shift", "false")] {
        assert_ne!(adm(&[variant]).1, size, "{variant:?}");
    }
    let dit = |patch| scaled("specs/dit.arch", "dit_s_2", &[("size", "64"), ("patch", patch)]).1;
    assert_eq!(dit("2"), dit("16"), "patches of any size");
    let (_, eps) = scaled("specs/stable_diffusion.arch", "sd15_unet", &[]);
    assert_eq!(scaled("specs/stable_diffusion.arch", "sd15_unet", &[("prediction", "\"v\"")]).1, eps);
}
