//! Entries of a step's `creates`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Str;
use super::kinds::Glob;
use crate::template::scalar::Flag;

/// Files that a step creates, and the rights that they may have.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("type" = ["string", "object"], "pattern" = "^(/|user:|group:)"))]
pub struct Creates {
    /// Path or glob of the files. Not the whole image, and not a whole directory of the system such as `/etc`.
    #[schemars(with = "Glob", extend("examples" = ["/opt/app/bin/ping"]))]
    pub path: Option<Str>,
    /// Programs with the setuid or setgid bit are among them. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub setuid: Option<Flag>,
    /// Programs with file capabilities are among them. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub capabilities: Option<Flag>,
    /// Device nodes are among them. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub device: Option<Flag>,
}

/// An entry of `creates`: a glob or an account as a string, or a table.
#[derive(Debug)]
pub enum CreatesEntry {
    Path(String),
    Table(Creates),
}

impl<'de> Deserialize<'de> for CreatesEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = CreatesEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<CreatesEntry, E> {
        Ok(CreatesEntry::Path(path.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<CreatesEntry, M::Error> {
        Creates::deserialize(MapAccessDeserializer::new(map)).map(CreatesEntry::Table)
    }
}

impl JsonSchema for CreatesEntry {
    fn schema_name() -> Cow<'static, str> {
        Creates::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Creates::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Creates::json_schema(generator)
    }
}
