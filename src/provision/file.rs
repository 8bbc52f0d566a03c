//! `[[files]]` and the `file` step: files and directories go into the machine.

use percent_encoding::percent_decode_str;

use super::{Context, ProvisionError};
use crate::machine::Machine;
use crate::plan::{Upload, UploadSource};
use crate::ssh::{Item, ItemSource};

/// Puts all files in place, as one stream.
///
/// # Errors
/// Those of [`Session::upload`](crate::ssh::Session::upload); text for a directory has no file name.
pub async fn files<M: Machine>(
    machine: &mut M,
    files: &[Upload],
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    if files.is_empty() {
        return Ok(());
    }
    let items = files
        .iter()
        .map(|file| item(file, cx))
        .collect::<Result<Vec<_>, _>>()?;
    let bar = cx.ui.bar(&label(files), None);
    Ok(machine.session().upload(&items, &bar).await?)
}

fn label(files: &[Upload]) -> String {
    match files {
        [file] => file.destination.clone(),
        _ => format!("{} files", files.len()),
    }
}

fn item(upload: &Upload, cx: &Context<'_>) -> Result<Item, ProvisionError> {
    let directory = upload.destination.ends_with('/');
    let mut destination = upload.destination.clone();
    let mut mode = upload.mode;
    let source = match &upload.source {
        UploadSource::Path(path) => ItemSource::Path(path.clone()),
        UploadSource::Content(_) if directory => {
            return Err(ProvisionError::NoFileName(destination));
        }
        UploadSource::Content(text) => ItemSource::Bytes(text.reveal(cx.secrets).into_bytes()),
        UploadSource::Url { url, sha256 } => {
            // In the cache it is named by its digest, and its mode is the cache's.
            if directory {
                destination += &file_name(url)
                    .ok_or_else(|| ProvisionError::NoFileName(destination.clone()))?;
            }
            mode = mode.or(Some(0o644));
            ItemSource::Path((cx.fetched)(sha256))
        }
    };
    Ok(Item {
        source,
        destination,
        mode,
        owner: upload.owner.clone(),
    })
}

/// The name that a download has by its URL.
fn file_name(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let (_, path) = path.split_once("://")?;
    let (_, name) = path.rsplit_once('/')?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    (!matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_named_by_its_url() {
        for (url, name) in [
            ("https://example.org/a/b.tar.gz", Some("b.tar.gz")),
            ("https://example.org/b%20c?x=/y#z/", Some("b c")),
            ("https://example.org/", None),
            ("https://example.org", None),
            ("https://example.org/..", None),
            ("https://example.org/a%2fb", None),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
        }
    }
}
