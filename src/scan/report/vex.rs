//! `OpenVEX` documents: statements on which vulnerabilities do not affect a product.

use std::path::PathBuf;

use miette::Diagnostic;
use serde_json::Value;
use thiserror::Error;

use crate::scan::Finding;

/// A statement about one vulnerability.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Id and aliases of the vulnerability.
    ids: Vec<String>,
    products: Vec<Product>,
    /// Reason why the products are not affected; `None` if they are affected or under investigation.
    harmless: Option<String>,
}

/// A package named by its package URL.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Product {
    name: String,
    version: Option<String>,
}

#[derive(Debug, Error, Diagnostic)]
pub enum VexError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("invalid OpenVEX document {}: {problem}", path.display())]
    #[diagnostic(help("see the OpenVEX specification, or create it with `vexctl create`"))]
    Invalid { path: PathBuf, problem: String },
}

/// Reads the statements of all documents.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Statement>, VexError> {
    let mut statements = Vec::new();
    for path in paths {
        let text = std::fs::read(path).map_err(|source| VexError::Read {
            path: path.clone(),
            source,
        })?;
        statements.extend(parse(&text).map_err(|problem| VexError::Invalid {
            path: path.clone(),
            problem,
        })?);
    }
    Ok(statements)
}

/// Returns the reason why a finding does no harm, according to the last statement about it.
pub fn justification(statements: &[Statement], finding: &Finding) -> Option<String> {
    let about = |statement: &&Statement| {
        let known = |id: &String| finding.id == *id || finding.advisories.contains(id);
        let mut products = statement.products.iter();
        statement.ids.iter().any(known) && products.any(|product| product.is_of(finding))
    };
    statements.iter().rev().find(about)?.harmless.clone()
}

impl Product {
    fn is_of(&self, finding: &Finding) -> bool {
        let matches = |name: &Option<String>, version: &Option<String>| {
            name.as_deref() == Some(&self.name)
                && (self.version.is_none() || self.version == *version)
        };
        matches(&finding.package, &finding.version)
            || matches(&finding.source, &finding.source_version)
    }

    /// Parses a package URL, as in `pkg:deb/debian/nginx@1.22.1-9?arch=amd64`.
    fn from_purl(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("pkg:")?;
        let rest = rest.split(['?', '#']).next()?;
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) => (path, Some(decoded(version))),
            None => (rest, None),
        };
        let (kind, name) = path.split_once('/')?;
        let name = match kind {
            // The name of an npm package includes its scope, that of a Go module its host.
            "npm" | "golang" => name,
            _ => name.rsplit('/').next()?,
        };
        let name = decoded(name);
        (!name.is_empty()).then_some(Self { name, version })
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn parse(text: &[u8]) -> Result<Vec<Statement>, String> {
    let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let context = document["@context"].as_str().unwrap_or_default();
    if !context.contains("openvex") {
        return Err("`@context` does not name OpenVEX".to_owned());
    }
    let statements = document["statements"]
        .as_array()
        .ok_or("`statements` is missing")?;
    let mut read = statements
        .iter()
        .enumerate()
        .map(|(index, statement)| {
            let time = statement["timestamp"]
                .as_str()
                .or(document["timestamp"].as_str());
            let read = self::statement(statement)
                .map_err(|problem| format!("statement {}: {problem}", index + 1))?;
            Ok((time.unwrap_or_default().to_owned(), read))
        })
        .collect::<Result<Vec<_>, String>>()?;
    // The latest statement counts.
    read.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(read.into_iter().map(|(_, statement)| statement).collect())
}

fn statement(statement: &Value) -> Result<Statement, String> {
    let vulnerability = &statement["vulnerability"];
    let names = [vulnerability, &vulnerability["name"], &vulnerability["@id"]];
    let aliases = vulnerability["aliases"].as_array().into_iter().flatten();
    let ids: Vec<_> = names
        .into_iter()
        .chain(aliases)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if ids.is_empty() {
        return Err("no vulnerability named".to_owned());
    }
    let mut products = Vec::new();
    for product in statement["products"].as_array().into_iter().flatten() {
        // Subcomponents, if named, are what is vulnerable.
        let components = product["subcomponents"]
            .as_array()
            .filter(|components| !components.is_empty());
        for component in components.map_or(std::slice::from_ref(product), Vec::as_slice) {
            let purl = [
                component,
                &component["@id"],
                &component["identifiers"]["purl"],
            ];
            let mut purl = purl.into_iter().filter_map(Value::as_str);
            products.extend(purl.find_map(Product::from_purl));
        }
    }
    if products.is_empty() {
        return Err("no package URL in `products`".to_owned());
    }
    let reason = ["justification", "impact_statement"].map(|key| statement[key].as_str());
    let reason: Vec<_> = reason.into_iter().flatten().collect();
    let harmless = match statement["status"].as_str() {
        Some("not_affected") if reason.is_empty() => {
            return Err(
                "`not_affected` needs a `justification` or an `impact_statement`".to_owned(),
            );
        }
        Some("not_affected") => Some(format!("VEX, not affected: {}", reason.join(": "))),
        Some("fixed") => Some(
            ["VEX, fixed"]
                .into_iter()
                .chain(reason)
                .collect::<Vec<_>>()
                .join(": "),
        ),
        Some("affected" | "under_investigation") => None,
        Some(other) => return Err(format!("unknown status `{other}`")),
        None => return Err("`status` is missing".to_owned()),
    };
    Ok(Statement {
        ids,
        products,
        harmless,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scan::Severity;

    fn document(statements: &Value) -> Vec<u8> {
        let context = "https://openvex.dev/ns/v0.2.0";
        json!({"@context": context, "timestamp": "2026-01-01T00:00:00Z", "statements": statements})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_statement_accepts_the_vulnerability_in_its_package_alone() {
        let mut finding = Finding::new("vulnerability", "CVE-1", Severity::High, "t");
        finding.package = Some("libssl3".to_owned());
        finding.version = Some("1:3.0+b1".to_owned());
        finding.source = Some("openssl".to_owned());
        finding.source_version = Some("3.0".to_owned());
        finding.advisories = vec!["DSA-1".to_owned()];
        let why = "component_not_present";
        for (name, product, accepted) in [
            (
                "CVE-1",
                json!({"@id": "pkg:deb/debian/libssl3@1%3A3.0%2Bb1?arch=amd64"}),
                true,
            ),
            ("DSA-1", json!({"@id": "pkg:deb/debian/openssl"}), true),
            ("CVE-2", json!({"@id": "pkg:deb/debian/openssl"}), false),
            ("CVE-1", json!({"@id": "pkg:deb/debian/openssl@2.9"}), false),
            ("CVE-1", json!({"@id": "pkg:deb/debian/nginx"}), false),
            (
                "CVE-1",
                json!({"@id": "pkg:oci/web", "subcomponents": [{"@id": "pkg:deb/debian/openssl"}]}),
                true,
            ),
            ("CVE-1", json!("pkg:deb/debian/openssl"), true),
        ] {
            let statement = json!([{"vulnerability": {"name": name}, "products": [product], "status": "not_affected", "justification": why}]);
            let statements = parse(&document(&statement)).unwrap();
            let found = justification(&statements, &finding);
            assert_eq!(found.is_some(), accepted, "{statement}");
            assert!(found.is_none_or(|text| text.contains(why)));
        }
        let product = json!([{"@id": "pkg:deb/debian/openssl"}]);
        let later = json!([
            {"vulnerability": "CVE-1", "products": product, "status": "affected", "timestamp": "2026-03-01T00:00:00Z"},
            {"vulnerability": "CVE-1", "products": product, "status": "fixed", "timestamp": "2026-02-01T00:00:00Z"},
        ]);
        let statements = parse(&document(&later)).unwrap();
        assert_eq!(
            justification(&statements, &finding),
            None,
            "the latest statement counts"
        );
    }

    #[test]
    fn a_document_that_says_nothing_clear_is_refused() {
        let product = json!([{"@id": "pkg:deb/debian/openssl"}]);
        for (statement, problem) in [
            (
                json!({"products": product, "status": "fixed"}),
                "no vulnerability named",
            ),
            (
                json!({"vulnerability": "CVE-1", "status": "fixed"}),
                "no package URL",
            ),
            (
                json!({"vulnerability": "CVE-1", "products": [{"@id": "web"}], "status": "fixed"}),
                "no package URL",
            ),
            (
                json!({"vulnerability": "CVE-1", "products": product}),
                "`status` is missing",
            ),
            (
                json!({"vulnerability": "CVE-1", "products": product, "status": "fine"}),
                "unknown status",
            ),
            (
                json!({"vulnerability": "CVE-1", "products": product, "status": "not_affected"}),
                "justification",
            ),
        ] {
            let error = parse(&document(&json!([statement]))).unwrap_err();
            assert!(error.contains(problem), "{statement}: {error}");
        }
        for text in ["", "[]", "{}", "{\"@context\": \"https://openvex.dev/ns\"}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
