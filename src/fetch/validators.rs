//! Validators of an answer (RFC 9110, 8.8): a request that carries them is answered without the file if it is unchanged.

use reqwest::header::{DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{RequestBuilder, Response};
use serde::{Deserialize, Serialize};

/// Version of a file at a server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Validators {
    /// Value of the header `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Value of the header `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
}

impl Validators {
    /// Returns the validators of an answer.
    pub(super) fn of(response: &Response) -> Self {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        // A file that was changed in the second of the answer may change again in that second, with the same date.
        let modified =
            header(LAST_MODIFIED).filter(|modified| header(DATE).as_ref() != Some(modified));
        Self {
            etag: header(ETAG),
            modified,
        }
    }

    /// Returns whether the server gave none, so that every request gets the whole file.
    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.modified.is_none()
    }

    /// Adds the validators to a request.
    pub(super) fn add_to(&self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in [
            (IF_NONE_MATCH, &self.etag),
            (IF_MODIFIED_SINCE, &self.modified),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }
}
