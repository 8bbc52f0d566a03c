//! Signatures of version 4, checked: what the bench takes, AWS takes.

use karat::time::Timestamp;
use ring::hmac;

use super::call::{Call, Scope};
use super::form::Form;
use super::store::digest;

/// How far the caller's clock may be off.
const SKEW: i64 = 5 * 60;

/// What is wrong with a call's signature, for a person to read.
pub fn check(call: &Call, scope: &Scope, secret: &str) -> Result<(), String> {
    let date = call.header("x-amz-date");
    check_date(date, &scope.date)?;
    let names: Vec<&str> = scope.signed_headers.split(';').collect();
    for name in ["host", "x-amz-date"] {
        if !names.contains(&name) {
            return Err(format!("the header {name} is not signed"));
        }
    }
    let token = "x-amz-security-token";
    if call.headers.contains_key(token) && !names.contains(&token) {
        return Err(format!("the header {token} is not signed"));
    }
    let whole = canonical(call, &names)?;
    let place = format!(
        "{}/{}/{}/aws4_request",
        scope.date, scope.region, scope.service
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{place}\n{}",
        hex(&digest(whole.as_bytes()))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in place.split('/') {
        key = sign(&key, part);
    }
    if hex(&sign(&key, &text)) == scope.signature {
        return Ok(());
    }
    Err(format!(
        "the signature is another one; the canonical request is:\n{whole}"
    ))
}

/// `20261126T041500Z`
fn check_date(date: &str, day: &str) -> Result<(), String> {
    let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
    let (year, month, this_day) = (part(0, 4), part(4, 6), part(6, 8));
    let (hour, minute, second) = (part(9, 11), part(11, 13), part(13, 15));
    let text = format!("{year}-{month}-{this_day}T{hour}:{minute}:{second}Z");
    let time: Timestamp = text.parse().map_err(|_| format!("{date:?} is no time"))?;
    if (time.seconds() - Timestamp::now().seconds()).abs() > SKEW {
        return Err(format!("{date} is not now"));
    }
    if part(0, 8) != day {
        return Err(format!("{date} is not of the scope's day, {day}"));
    }
    Ok(())
}

fn canonical(call: &Call, names: &[&str]) -> Result<String, String> {
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let mut lines = vec![
        call.method.clone(),
        encode(path, true),
        canonical_query(query),
    ];
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    if sorted != names {
        return Err("the signed headers are not in order".to_owned());
    }
    for name in names {
        let values = call.headers.get_all(*name).iter();
        let values = values.map(|value| value.to_str().unwrap_or_default());
        let words = values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
        let values: Vec<String> = words.collect();
        if values.is_empty() {
            return Err(format!("the signed header {name} is missing"));
        }
        lines.push(format!("{name}:{}", values.join(",")));
    }
    lines.extend([String::new(), names.join(";"), payload(call)?]);
    Ok(lines.join("\n"))
}

/// The hash of the body, or that the caller has not signed it, as is usual for blocks of snapshots.
fn payload(call: &Call) -> Result<String, String> {
    let hash = hex(&digest(&call.body));
    match call.header("x-amz-content-sha256") {
        "" => Ok(hash),
        "UNSIGNED-PAYLOAD" if call.action == "PutSnapshotBlock" => {
            Ok("UNSIGNED-PAYLOAD".to_owned())
        }
        said if said == hash => Ok(hash),
        said => Err(format!(
            "x-amz-content-sha256 is {said}, the body's is {hash}"
        )),
    }
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = Form::parse(query).0.into_iter().collect();
    for (name, value) in &mut pairs {
        *name = encode(name, false);
        *value = encode(value, false);
    }
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// Everything but letters, digits and `-._~` as `%41`; a path keeps its slashes, and is encoded once more than it is sent.
fn encode(text: &str, is_path: bool) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        b'/' if is_path => "/".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
