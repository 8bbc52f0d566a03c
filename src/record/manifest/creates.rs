//! Entries of a step's `creates`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A glob of paths, or an account, that a step declares to create. Its rights are those that files of the glob may have.
///
/// An entry without rights is a string, as in manifests of earlier versions, so that their ids stay the same.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "Written", into = "Written")]
pub struct Creates {
    /// Glob, or an account as `user:app` and `group:app`.
    pub path: String,
    /// Setuid and setgid programs.
    pub setuid: bool,
    /// Programs with file capabilities.
    pub capabilities: bool,
    /// Device nodes.
    pub device: bool,
}

impl Creates {
    /// Returns the names of the rights.
    pub fn rights(&self) -> impl Iterator<Item = &'static str> {
        let rights = [
            (self.setuid, "setuid"),
            (self.capabilities, "capabilities"),
            (self.device, "device"),
        ];
        let given = rights.into_iter().filter(|(given, _)| *given);
        given.map(|(_, name)| name)
    }
}

impl From<&str> for Creates {
    fn from(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Creates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        let rights: Vec<_> = self.rights().collect();
        if rights.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", rights.join(", "))
    }
}

/// Form of an entry in a record.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Written {
    Path(String),
    WithRights(WithRights),
}

/// An entry whose files may have rights.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("minProperties" = 2)))]
#[serde(deny_unknown_fields)]
struct WithRights {
    /// Glob.
    path: String,
    /// True for setuid and setgid programs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, schemars(extend("const" = true)))]
    setuid: bool,
    /// True for programs with file capabilities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, schemars(extend("const" = true)))]
    capabilities: bool,
    /// True for device nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, schemars(extend("const" = true)))]
    device: bool,
}

impl From<Written> for Creates {
    fn from(written: Written) -> Self {
        match written {
            Written::Path(path) => Self::from(path.as_str()),
            Written::WithRights(WithRights {
                path,
                setuid,
                capabilities,
                device,
            }) => Self {
                path,
                setuid,
                capabilities,
                device,
            },
        }
    }
}

impl From<Creates> for Written {
    fn from(creates: Creates) -> Self {
        if creates.rights().next().is_none() {
            return Self::Path(creates.path);
        }
        let Creates {
            path,
            setuid,
            capabilities,
            device,
        } = creates;
        Self::WithRights(WithRights {
            path,
            setuid,
            capabilities,
            device,
        })
    }
}
