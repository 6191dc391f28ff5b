//! The file as it is written. Doc comments are the descriptions of its schema.

use super::levels::{Setting, patterns};
use super::statistics::Inputs;
use crate::analysis::precision::Format;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What archc takes as given for the specs of a folder and of those inside of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "archc.yaml")]
pub(super) struct Document {
    /// Levels of rules by id, `group/name`. `group/*` is for the others of a group, `*` for all others.
    #[schemars(schema_with = "rules")]
    pub rules: Option<BTreeMap<String, Setting>>,
    /// What goes into models. Without it images are white noise, everything else has unit variance.
    pub statistics: Option<Inputs>,
    /// The numbers that models run in, which rules about precision and `archc predict` look at.
    pub dtype: Option<Format>,
}

fn rules(generator: &mut SchemaGenerator) -> Schema {
    let level = generator.subschema_for::<Setting>();
    let property = |(pattern, description): (String, String)| {
        let mut own = level.clone();
        own.insert("description".to_owned(), Value::String(description));
        (pattern, own.to_value())
    };
    let properties: Map<String, Value> = patterns().into_iter().map(property).collect();
    let schema = json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        // How keys are called in messages.
        "x-key": "rule",
    });
    Schema::try_from(schema).unwrap_or_default()
}
