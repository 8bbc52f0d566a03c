//! RFC 8785 canonical JSON, for the subset that manifests use: ASCII keys, no nulls, no fractions, integers below 2^53.
//!
//! Within that subset there is exactly one text for a value, and every JSON library reads it without loss.

use miette::Diagnostic;
use serde::Serialize;
use serde_json::{Number, Value};
use thiserror::Error;

/// Above this, a reader that keeps numbers as IEEE doubles (JavaScript, `jq`) would round.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A value without a canonical form.
#[derive(Debug, Error, Diagnostic)]
#[error("{what} cannot be recorded")]
#[diagnostic(help(
    "found at `{at}`; records may hold text, lists, tables with ASCII keys, true and false, \
     and whole numbers below 2^53"
))]
pub struct Unrepresentable {
    /// Description of the value.
    pub what: String,
    /// Path of keys to it, joined with dots.
    pub at: String,
}

/// Returns the canonical JSON of a value.
///
/// # Errors
/// A part of the value is outside the subset.
pub fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, Unrepresentable> {
    let value = serde_json::to_value(value).map_err(|error| Unrepresentable {
        what: error.to_string(),
        at: String::new(),
    })?;
    value_to_bytes(&value)
}

/// Returns the canonical JSON of a JSON value.
///
/// # Errors
/// A part of the value is outside the subset.
pub fn value_to_bytes(value: &Value) -> Result<Vec<u8>, Unrepresentable> {
    let mut out = Vec::new();
    write(value, &mut Vec::new(), &mut out)?;
    Ok(out)
}

fn write<'v>(
    value: &'v Value,
    at: &mut Vec<&'v str>,
    out: &mut Vec<u8>,
) -> Result<(), Unrepresentable> {
    let refuse = |what: String, at: &[&str]| {
        Err(Unrepresentable {
            what,
            at: at.join("."),
        })
    };
    match value {
        Value::Null => return refuse("null".to_owned(), at),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if is_exact(number) => out.extend(number.to_string().bytes()),
        Value::Number(number) => return refuse(format!("the number {number}"), at),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            write_list(*b"[]", items, out, |item, out| write(item, at, out))?;
        }
        Value::Object(table) => {
            if let Some(key) = table.keys().find(|key| !key.is_ascii()) {
                return refuse(format!("the key {key:?}"), at);
            }
            let mut entries: Vec<_> = table.iter().collect();
            // RFC 8785 orders by UTF-16 units; for ASCII that is the order of bytes.
            entries.sort_by_key(|(key, _)| key.as_bytes());
            write_list(*b"{}", entries, out, |(key, item), out| {
                write_text(key, out);
                out.push(b':');
                at.push(key);
                write(item, at, out)?;
                at.pop();
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn write_list<T>(
    brackets: [u8; 2],
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write_item: impl FnMut(T, &mut Vec<u8>) -> Result<(), Unrepresentable>,
) -> Result<(), Unrepresentable> {
    out.push(brackets[0]);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(item, out)?;
    }
    out.push(brackets[1]);
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(br#"\""#),
            b'\\' => out.extend(br"\\"),
            0x08 => out.extend(br"\b"),
            b'\t' => out.extend(br"\t"),
            b'\n' => out.extend(br"\n"),
            0x0c => out.extend(br"\f"),
            b'\r' => out.extend(br"\r"),
            0..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
            // Bytes of UTF-8 beyond ASCII stand for themselves.
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn is_exact(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => number <= MAX_INTEGER,
        (None, Some(number)) => number.unsigned_abs() <= MAX_INTEGER,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn there_is_one_text_for_a_value() {
        for (value, expected) in [
            (
                json!({"b": 1, "a": [true, false, {}], "B": ""}),
                r#"{"B":"","a":[true,false,{}],"b":1}"#,
            ),
            (
                json!("\u{0}\u{1f}\u{8}\t\n\u{c}\r\"\\/\u{7f}é€😀"),
                "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}é€😀\"",
            ),
            (
                json!([MAX_INTEGER, -9_007_199_254_740_991_i64, 0]),
                "[9007199254740991,-9007199254740991,0]",
            ),
        ] {
            assert_eq!(
                String::from_utf8(to_bytes(&value).unwrap()).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn values_that_other_readers_would_lose_are_refused() {
        for (value, at) in [
            (json!({"a": {"b": null}}), "a.b"),
            (json!({"a": [1.5]}), "a"),
            (json!({"size": MAX_INTEGER + 1}), "size"),
            (json!({"size": -9_007_199_254_740_992_i64}), "size"),
            (json!({"a": {"ключ": 1}}), "a"),
        ] {
            assert_eq!(to_bytes(&value).unwrap_err().at, at, "{value}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..=MAX_INTEGER).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[ -~]{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_reads_back_as_the_value(value in value()) {
            let bytes = to_bytes(&value).unwrap();
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(to_bytes(&back).unwrap(), bytes);
        }
    }
}
