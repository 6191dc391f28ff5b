//! What a user declares for all specs of a folder, once: levels of rules, what the analyses take as given of the inputs,
//! and the numbers that models run in. It is written in [`FILE`].
//!
//! The types of [`Document`] are the one definition: they give the JSON schema, a file is checked against that, so that
//! every mistake is found where it stands, and is then read as what they are.

mod document;
mod levels;
mod schema;
mod statistics;
mod yaml;

use crate::analysis::precision::Format;
use crate::lint::Levels;
use archc_grammar::{Diagnostic, FileId};
use document::Document;
pub use levels::{Setting, patterns};
pub use schema::schema;
pub use statistics::{Autocorrelation, Data, Feature, Inputs};

/// The name of the file.
pub const FILE: &str = "archc.yaml";

/// What rules, predictions and measurements take as given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub levels: Levels,
    pub inputs: Inputs,
    /// The numbers that models run in, if they were declared.
    pub dtype: Option<Format>,
}

impl Settings {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: what is no YAML, keys and rules that do not exist or stand there twice, values
    /// that are impossible, and those that say nothing without another one.
    pub fn read(text: &str, file: FileId) -> Result<Self, Vec<Diagnostic>> {
        let root = yaml::parse(text, file).map_err(|problem| vec![*problem])?;
        let problems = schema::check(&root, schema());
        if !problems.is_empty() {
            return Err(problems);
        }
        let unreadable = |error: serde_json::Error| {
            vec![Diagnostic::error("settings/value", error.to_string()).label(root.span, "cannot be read")]
        };
        let document: Option<Document> = serde_json::from_value(root.to_json()).map_err(unreadable)?;
        let document = document.unwrap_or_default();
        let inputs = document.statistics.unwrap_or_default();
        if let (true, None) = (inputs.sigma.is_some(), &inputs.data) {
            return Err(vec![undeclared_data(&root)]);
        }
        Ok(Self { levels: levels::resolve(&document.rules.unwrap_or_default()), inputs, dtype: document.dtype })
    }
}

fn undeclared_data(root: &yaml::Node) -> Diagnostic {
    let message = "noise levels say nothing without the standard deviation of the data";
    let problem = Diagnostic::error("settings/undeclared", message)
        .help("declare it beside them: `data: { std: 0.5, autocorrelation: smooth }`");
    match root.get("statistics").and_then(|statistics| statistics.key("sigma")) {
        Some(key) => problem.label(key.span, "the noise is added to data of which nothing is declared"),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archc_grammar::Level;

    fn read(text: &str) -> Result<Settings, Vec<(String, String)>> {
        let place = |problem: Diagnostic| {
            let place = problem.span().map_or("", |span| span.text(text)).to_owned();
            (problem.id.to_string(), place)
        };
        Settings::read(text, FileId(0)).map_err(|problems| problems.into_iter().map(place).collect())
    }

    fn mistakes(text: &str) -> Vec<(String, String)> {
        read(text).expect_err(text)
    }

    #[test]
    fn the_nearer_pattern_wins_whatever_the_order() {
        let levels =
            read("rules:\n  init/dead-product: warn\n  'init/*': allow\n  '*': deny\n").expect("it is right").levels;
        assert_eq!(levels.0.get("init/dead-product"), Some(&Some(Level::Warning)));
        assert_eq!(levels.0.get("init/missing-zero"), Some(&None));
        assert_eq!(levels.0.get("skip/unnormalized-add"), Some(&Some(Level::Error)));
    }

    #[test]
    fn statistics_are_read() {
        let text = "statistics:\n  sigma: [0.002, 80]\n  data: { std: 0.5, autocorrelation: 0.9 }\n  \
                    inputs: { context: { mean: -0.1, std: 1.03, correlation: 0.3 } }\ndtype: bf16\n";
        let settings = read(text).expect("it is right");
        assert_eq!(settings.dtype, Some(Format::Bf16));
        assert_eq!(settings.inputs.highest(), Some(80.0));
        let data = settings.inputs.data.expect("it is declared");
        assert_eq!((data.std, data.autocorrelation.of_neighbours()), (0.5, 0.9));
        assert_eq!(settings.inputs.inputs.get("context").map(|own| own.correlation), Some(0.3));
        assert_eq!(read("").expect("nothing is nothing wrong"), Settings::default());
        assert_eq!(read("rules:\nstatistics:\ndtype:\n").expect("nothing of three"), Settings::default());
        assert_eq!(read("# rules:\n").expect("as are comments"), Settings::default());
    }

    #[test]
    fn every_mistake_is_found_where_it_stands() {
        let all = mistakes("ruls: {}\nrules:\n  inti/dead-product: deny\n  init/*: den\ndtype: f8\n");
        let expected = [
            ("settings/unknown-key", "ruls"),
            ("settings/unknown-rule", "inti/dead-product"),
            ("settings/value", "den"),
            ("settings/value", "f8"),
        ];
        assert_eq!(all, expected.map(|(id, place)| (id.to_owned(), place.to_owned())));
        let cases = [
            ("rules:\n  '*': deny\n  '*': allow\n", "settings/duplicate-key", "'*'"),
            ("statistics: { sigma: [1] }\n", "settings/undeclared", "sigma"),
            ("statistics: { data: { autocorrelation: white } }\n", "settings/undeclared", "{ autocorrelation: white }"),
            ("statistics: { data: { std: -1 } }\n", "settings/value", "-1"),
            ("statistics: { data: { std: 0 } }\n", "settings/value", "0"),
            ("statistics: { data: { std: .nan } }\n", "settings/value", ".nan"),
            ("statistics: { data: { std: 1, autocorrelation: 1 } }\n", "settings/value", "1"),
            ("statistics: { data: { std: 1, autocorrelation: smoth } }\n", "settings/value", "smoth"),
            ("statistics: { sigma: [], data: { std: 1 } }\n", "settings/value", "[]"),
            ("statistics: { sigma: [-1], data: { std: 1 } }\n", "settings/value", "-1"),
            ("statistics: { sigma: 1, data: { std: 1 } }\n", "settings/value", "1"),
            ("statistics: { inputs: { c: { correlation: 2 } } }\n", "settings/value", "2"),
            ("statistics: { inputs: { c: { sdt: 2 } } }\n", "settings/unknown-key", "sdt"),
            ("[deny]\n", "settings/value", "[deny]"),
            ("rules: &a { '*': deny }\ndtype: *a\n", "settings/syntax", "*a"),
        ];
        for (text, id, place) in cases {
            assert_eq!(mistakes(text), [(id.to_owned(), place.to_owned())], "{text}");
        }
        assert_eq!(mistakes("rules: {\n").first().map(|(id, _)| id.clone()), Some("settings/syntax".to_owned()));
        assert_eq!(mistakes("a: 1\n---\nb: 2\n").first().map(|(id, _)| id.clone()), Some("settings/syntax".to_owned()));
        let deep = "[".repeat(100_000);
        assert_eq!(mistakes(&deep).first().map(|(id, _)| id.clone()), Some("settings/syntax".to_owned()));
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let help = |text: &str| Settings::read(text, FileId(0)).expect_err(text).remove(0).help.unwrap_or_default();
        assert_eq!(help("rules: { inti/dead-product: deny }"), "did you mean `init/dead-product`?");
        assert_eq!(help("rules: { init: deny }"), "did you mean `init/*`?");
        assert_eq!(help("dtyp: f16"), "did you mean `dtype`?");
        assert_eq!(help("dtype: float16"), "it is one of `f16`, `bf16`, `f32`");
    }
}
