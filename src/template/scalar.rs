//! Values that may be written in more than one way, so that a variable (always a string) can stand for any of them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A string, a whole number or a boolean, kept as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scalar {
    /// The value as text.
    pub text: String,
    /// Whether it was written without quotes.
    pub bare: bool,
}

/// A whole number, also in quotes: `cpus = "{{ cpus }}"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number(pub u32);

/// True or false, also in quotes: `recommends = "{{ recommends }}"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = deserializer.deserialize_any(ScalarVisitor)?;
        let number = scalar.text.parse().map_err(|_| {
            D::Error::custom(format!(
                "{:?} is not a whole number from 0 to {}",
                scalar.text,
                u32::MAX
            ))
        })?;
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scalar = deserializer.deserialize_any(ScalarVisitor)?;
        let flag = scalar.text.parse().map_err(|_| {
            D::Error::custom(format!("{:?} is neither true nor false", scalar.text))
        })?;
        Ok(Self(flag))
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number or a boolean")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar {
            text: text.to_owned(),
            bare: false,
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar {
            text: number.to_string(),
            bare: true,
        })
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar {
            text: flag.to_string(),
            bare: true,
        })
    }
}
