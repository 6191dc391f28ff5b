//! `archc check --format sarif` against the schema of the standard, and `--format github`.
//!
//! `sarif/sarif-schema-2.1.0.json` is the schema of OASIS, as the crate `serde-sarif` 0.8 publishes it.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const SCHEMA: &str = include_str!("sarif/sarif-schema-2.1.0.json");

/// What a value breaks of a schema of draft 7, in the words that the schema of SARIF uses; others break it.
struct Validator {
    root: Value,
    problems: Vec<String>,
}

impl Validator {
    fn problems(document: &Value) -> Vec<String> {
        let root: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let mut validator = Self { root: root.clone(), problems: vec![] };
        validator.value(document, &root, "$");
        validator.problems
    }

    fn holds(&self, value: &Value, schema: &Value) -> bool {
        let mut inner = Self { root: self.root.clone(), problems: vec![] };
        inner.value(value, schema, "");
        inner.problems.is_empty()
    }

    fn value(&mut self, value: &Value, schema: &Value, at: &str) {
        for (word, rule) in schema.as_object().expect("a schema") {
            let is_right = match word.as_str() {
                "$schema" | "$id" | "title" | "description" | "definitions" | "default" | "format" => true,
                // Looked at with the properties.
                "additionalProperties" => true,
                "$ref" => {
                    let path = rule.as_str().and_then(|path| path.strip_prefix('#')).expect("a place in the schema");
                    let target = self.root.pointer(path).expect("a definition").clone();
                    self.value(value, &target, at);
                    true
                }
                "type" => is_of(value, rule.as_str().expect("one type")),
                "enum" => rule.as_array().expect("a list").contains(value),
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
                "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
                "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().expect("a size")),
                "uniqueItems" => value.as_array().is_none_or(|all| {
                    let twice = all.iter().enumerate().any(|(at, own)| all.iter().take(at).any(|other| other == own));
                    !twice || rule == &Value::Bool(false)
                }),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.value(item, rule, &format!("{at}[{index}]"));
                    }
                    true
                }
                "required" => value.as_object().is_none_or(|own| {
                    rule.as_array().expect("a list").iter().all(|key| own.contains_key(key.as_str().expect("a key")))
                }),
                "properties" => {
                    self.properties(value, rule, schema.get("additionalProperties"), at);
                    true
                }
                "anyOf" => rule.as_array().expect("a list").iter().any(|own| self.holds(value, own)),
                "oneOf" => rule.as_array().expect("a list").iter().filter(|own| self.holds(value, own)).count() == 1,
                // What is not known here cannot be said to hold.
                _ => false,
            };
            if !is_right {
                self.problems.push(format!("{at}: {word} {rule}: {value}"));
            }
        }
    }

    fn properties(&mut self, value: &Value, known: &Value, others: Option<&Value>, at: &str) {
        for (key, own) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{key}");
            match (known.get(key), others) {
                (Some(schema), _) => self.value(own, schema, &at),
                (None, Some(Value::Bool(false))) => self.problems.push(format!("{at}: there is no such property")),
                (None, Some(schema)) if schema.is_object() => self.value(own, schema, &at),
                (None, _) => {}
            }
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
    let output = command.arg("check").args(arguments).current_dir(folder).output().expect("the program starts");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// A dead product in a block, with a second label, calls that lead to it, and a fix.
const DEAD: &str = "block Gate(x: tokens[N, D], cond c: vector[D]) -> tokens[N, D] {
    let gate = c -> linear(D, init: zero) @gate
    x -> residual(gate: gate) { layer_norm() @norm -> linear(D, init: zero) @proj }
}

model Net(x: tokens[4, 8], c: vector[8]) -> tokens[4, 8] { x -> Gate(c) @block }
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn sarif(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, text) = check(folder, &[arguments, &["--format", "sarif"]].concat());
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(Validator::problems(&document), [""; 0]);
    (code, document)
}

fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).expect(pointer)
}

#[test]
fn findings_are_results_with_places_and_fixes() {
    let folder = folder(&[("net é.arch", DEAD), ("broken.arch", "model Net(x: vector[4] {")]);
    let (code, document) = sarif(folder.path(), &["net é.arch", "broken.arch", "none.arch"]);
    assert_eq!(code, Some(2));
    assert_eq!(at(&document, "/runs/0/invocations/0/executionSuccessful"), &json!(false), "a file is missing");
    let result = at(&document, "/runs/0/results/0");
    assert_eq!(at(result, "/ruleId"), "init/dead-product");
    let rule = format!("/runs/0/tool/driver/rules/{}/id", at(result, "/ruleIndex"));
    assert_eq!(at(&document, &rule), "init/dead-product");
    let place = at(result, "/locations/0/physicalLocation");
    assert_eq!(at(place, "/artifactLocation/uri"), "net%20%C3%A9.arch");
    assert_eq!(at(place, "/region"), &json!({ "startLine": 3, "startColumn": 25, "endLine": 3, "endColumn": 29 }));
    let related = at(result, "/relatedLocations").as_array().expect("a list");
    let related: Vec<&str> = related.iter().filter_map(|own| at(own, "/message/text").as_str()).collect();
    assert!(related.iter().any(|text| text.contains("starts at zero")), "{related:?}");
    assert!(related.contains(&"`Gate` is called from `Net` here"), "{related:?}");
    assert_eq!(at(result, "/fixes/0/artifactChanges/0/replacements/0/deletedRegion/startLine"), 3);
    assert!(at(result, "/fixes/0/description/text").as_str().is_some_and(|text| text.contains("unsafe")));
}

#[test]
fn nothing_found_is_a_document_too() {
    let folder = folder(&[("net.arch", "model Net(x: vector[4]) -> vector[2] { x -> linear(2) @head }\n")]);
    let (code, document) = sarif(folder.path(), &["net.arch"]);
    assert_eq!((code, at(&document, "/runs/0/results")), (Some(0), &json!([])));
}

/// The validator sees what is wrong, so that its silence says something.
#[test]
fn documents_that_break_the_schema_are_told() {
    let (_, good) = sarif(folder(&[("net.arch", DEAD)]).path(), &["net.arch"]);
    let broken = |pointer: &str, value: Value| {
        let mut document = good.clone();
        *document.pointer_mut(pointer).expect(pointer) = value;
        Validator::problems(&document)
    };
    let region = "/runs/0/results/0/locations/0/physicalLocation/region";
    let cases = [
        ("/version", json!("2.0")),
        ("/runs/0/tool", json!({})),
        ("/runs/0/results/0/level", json!("fatal")),
        ("/runs/0/results/0/message", json!({})),
        ("/runs/0/results/0/ruleIndex", json!(-2)),
        ("/runs/0/results/0/fixes", json!([{}])),
        (region, json!({ "startLine": 0 })),
        (region, json!({ "startLine": "3" })),
        (region, json!({ "firstLine": 3 })),
    ];
    for (pointer, value) in cases {
        assert!(!broken(pointer, value.clone()).is_empty(), "{pointer} {value}");
    }
}

#[test]
fn annotations_are_one_line_each_and_escaped() {
    let folder = folder(&[("a,b.arch", DEAD)]);
    let (code, text) = check(folder.path(), &["a,b.arch", "--format", "github"]);
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    let start =
        "::error file=a%2Cb.arch,line=3,col=25,endLine=3,endColumn=29,title=init/dead-product::the factors of this";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("%0A") && text.contains("`Gate` is called from `Net` at a,b.arch:6:65"), "{text}");
}
