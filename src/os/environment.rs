//! Environment variables of karat itself. `docs/reference/environment.md` lists them from this table.

/// An environment variable that karat reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Name; a lower-case part stands for one that the user chooses.
    pub name: &'static str,
    /// Meaning of the value, as Markdown.
    pub meaning: &'static str,
    /// Value that stands for an unset variable, as Markdown.
    pub default: &'static str,
}

/// Directory of the store.
pub const STORE: Variable = Variable {
    name: "KARAT_STORE",
    meaning: "Directory of the [store](store.md).",
    default: "`$XDG_DATA_HOME/karat`",
};

/// Directory of the cache.
pub const CACHE: Variable = Variable {
    name: "KARAT_CACHE",
    meaning: "Cache: downloads, bases, logs and run directories of builds. May be relative.",
    default: "`$XDG_CACHE_HOME/karat`",
};

/// File of the vulnerability database.
pub const DB: Variable = Variable {
    name: "KARAT_DB",
    meaning: "Vulnerability database.",
    default: "`$XDG_DATA_HOME/karat/vulnerabilities.db`",
};

/// Addresses of feeds for the vulnerability database.
pub const DB_SOURCES: Variable = Variable {
    name: "KARAT_DB_SOURCES",
    meaning: "Addresses of feeds for `karat db update` and `db = \"auto\"`: `NAME=URL`, separated by spaces.",
    default: "[built in](../how-to/scan-database.md#sources)",
};

/// File of the signing key.
pub const KEY: Variable = Variable {
    name: "KARAT_KEY",
    meaning: "Signing key: a private key file, or the public key of one in the SSH agent.",
    default: "`$XDG_CONFIG_HOME/karat/key`",
};

/// File of trusted signers.
pub const TRUST: Variable = Variable {
    name: "KARAT_TRUST",
    meaning: "Trusted signers, in the format of `allowed_signers` (ssh-keygen).",
    default: "`$XDG_CONFIG_HOME/karat/allowed_signers`",
};

/// File of revoked keys.
pub const REVOKED: Variable = Variable {
    name: "KARAT_REVOKED",
    meaning: "Revoked keys: one public key or `SHA256:` fingerprint per line.",
    default: "`$XDG_CONFIG_HOME/karat/revoked_keys`, if it exists",
};

/// Address of a syslog server.
pub const AUDIT_SYSLOG: Variable = Variable {
    name: "KARAT_AUDIT_SYSLOG",
    meaning: "Syslog server (`HOST:PORT`, TLS) that receives the audit log. Empty: none.",
    default: "none",
};

/// File of CA certificates for the syslog server.
pub const AUDIT_SYSLOG_CA: Variable = Variable {
    name: "KARAT_AUDIT_SYSLOG_CA",
    meaning: "CA certificates for that server, in PEM.",
    default: "the system's",
};

/// Prefix of the variables of templates.
pub const VAR_PREFIX: &str = "KARAT_VAR_";

/// Value of a variable of the template. The name ends with that of the variable.
pub const VAR: Variable = Variable {
    name: "KARAT_VAR_name",
    meaning: "Value of the template variable `name`. The name is spelled as in the template, or in capital letters.",
    default: "the variable's `default`",
};

/// All variables, in the order of the page.
pub const ALL: [Variable; 10] = [
    STORE,
    CACHE,
    DB,
    DB_SOURCES,
    KEY,
    TRUST,
    REVOKED,
    AUDIT_SYSLOG,
    AUDIT_SYSLOG_CA,
    VAR,
];
