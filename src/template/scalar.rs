//! Values that may also be written as strings, because a variable is always a string.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A string, an integer or a boolean, kept as text.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema)]
#[schemars(inline, with = "String", extend("type" = ["string", "integer", "boolean"]))]
pub struct Scalar {
    pub text: String,
}

/// An integer, also in quotes: `cpus = "{{ cpus }}"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema)]
#[schemars(inline, extend("maximum" = u32::MAX))]
pub struct Number(pub u32);

/// A boolean, also in quotes: `recommends = "{{ recommends }}"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema)]
#[schemars(inline)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor("a string, an integer or a boolean"))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = format!("an integer from 0 to {}", u32::MAX);
        parsed(deserializer, &expected).map(Self)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "true or false").map(Self)
    }
}

fn parsed<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
) -> Result<T, D::Error> {
    let text = deserializer.deserialize_any(ScalarVisitor(expected))?.text;
    text.parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is not {expected}")))
}

/// Reads a scalar; names what the key expects.
struct ScalarVisitor<'a>(&'a str);

impl Visitor<'_> for ScalarVisitor<'_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar {
            text: text.to_owned(),
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar {
            text: number.to_string(),
        })
    }

    /// Accepts a size or a duration with a point, which gets advice later. The schema refuses other ones.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar {
            text: number.to_string(),
        })
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar {
            text: flag.to_string(),
        })
    }
}
