//! One request for the rest of a partial download.

use std::borrow::Borrow;
use std::io;

use futures_util::StreamExt as _;
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::partial::Partial;
use super::transfer::{self, Body, TransferError};
use crate::os::hash_stream;
use crate::ui::Bar;

/// Blocks of the body that wait to be written.
const QUEUED_BLOCKS: usize = 64;

/// Outcome of a request.
pub(super) struct Attempt {
    pub outcome: Result<(), TransferError>,
    /// The bytes were appended to those of earlier requests, which may have been for another file.
    pub resumed: bool,
}

/// Requests the missing bytes of `partial` and appends them. `bar` returns the progress bar for the total size, if that is known,
/// and the size so far. Fails only if the file cannot be written.
pub(super) async fn attempt<B: Borrow<Bar>>(
    client: &Client,
    url: &Url,
    mut partial: Partial,
    bar: impl FnOnce(Option<u64>, u64) -> B,
) -> io::Result<(Partial, Attempt)> {
    let mut resumed = partial.size() > 0;
    let outcome = match transfer::request(client, url, partial.size()).await {
        Ok(answer) => {
            if answer.offset != partial.size() {
                partial.restart()?;
                resumed = false;
            }
            let bar = bar(answer.total, partial.size());
            let outcome;
            (partial, outcome) = receive(answer.body, partial, bar.borrow()).await?;
            outcome
        }
        Err(error) => Err(error),
    };
    Ok((partial, Attempt { outcome, resumed }))
}

/// Appends the body to the partial file on another thread, so that hashing and the network overlap.
async fn receive(
    mut body: Body,
    mut partial: Partial,
    bar: &Bar,
) -> io::Result<(Partial, Result<(), TransferError>)> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUED_BLOCKS);
    let writing = hash_stream::blocking(move |stop| {
        while let Some(bytes) = receiver.blocking_recv() {
            stop.check()?;
            partial.append(&bytes)?;
        }
        Ok(partial)
    });
    let reading = async move {
        while let Some(next) = body.next().await {
            let bytes = next?;
            bar.advance(bytes.len() as u64);
            // The receiver is gone only if writing failed, and that error is returned.
            if sender.send(bytes).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (partial, outcome) = tokio::join!(writing, reading);
    partial.map(|partial| (partial, outcome))
}
