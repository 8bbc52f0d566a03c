//! `karat schema`

use clap::Args;

use super::CommandError;
use super::shared::stdout::Stdout;
use crate::template::schema::json_schema;

/// Print the JSON schema of templates
///
/// Editors with Taplo, such as VS Code with Even Better TOML, complete, explain and check the keys of a template whose first line
/// is `#:schema karat.schema.json`, once `karat schema >karat.schema.json` has written that file beside it.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {}

pub(crate) fn run(SchemaArgs {}: &SchemaArgs, out: &mut Stdout) -> Result<(), CommandError> {
    out.text(&text())
}

/// Returns the schema as an indented document.
pub(super) fn text() -> String {
    let schema = serde_json::to_string_pretty(&json_schema());
    schema.expect("a schema has text keys only") + "\n"
}
