//! `[[files]]` and the `file` step copy files and directories into the machine.

use percent_encoding::percent_decode_str;

use super::{Context, ProvisionError};
use crate::machine::Machine;
use crate::plan::{Upload, UploadSource};
use crate::ssh::{UploadContent, UploadItem};

/// Uploads all files as one stream.
///
/// # Errors
/// Fails like [`Session::upload`](crate::ssh::Session::upload), and if `content` goes into a directory.
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

fn item(upload: &Upload, cx: &Context<'_>) -> Result<UploadItem, ProvisionError> {
    let directory = upload.destination.ends_with('/');
    let mut destination = upload.destination.clone();
    let mut mode = upload.mode;
    let source = match &upload.source {
        UploadSource::Path(path) => UploadContent::Path(path.clone()),
        UploadSource::Content(_) if directory => {
            return Err(ProvisionError::NoFileName(destination));
        }
        UploadSource::Content(text) => UploadContent::Bytes(text.reveal(cx.secrets).into_bytes()),
        UploadSource::Url { url, sha256 } => {
            // The cached file has its digest as name and the cache's own mode.
            if directory {
                destination += &file_name(url)
                    .ok_or_else(|| ProvisionError::NoFileName(destination.clone()))?;
            }
            mode = mode.or(Some(0o644));
            UploadContent::Path((cx.fetched)(sha256))
        }
    };
    Ok(UploadItem {
        source,
        destination,
        mode,
        owner: upload.owner.clone(),
    })
}

/// Returns the file name in a URL.
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
