//! The EBS direct APIs: snapshots that are written and read block by block.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::store::{BLOCK, digest};
use super::world::{Progress, Snapshot, Stage, Tags};
use karat::time::Timestamp;

/// What a page holds at most, and at least.
const PAGE: std::ops::RangeInclusive<usize> = 100..=10_000;
/// The largest volume, in GiB.
const LARGEST: u64 = 65_536;
/// Where an upload is cancelled for want of blocks: 60 minutes unless it is told, between 10 and 4320.
const TIMEOUT: std::ops::RangeInclusive<u64> = 10..=4320;

pub fn perform(inner: &Inner, call: &Call, fails: bool) -> Outcome {
    let parts = call.parts();
    let id = |index: usize| parts.get(index).map_or("", String::as_str);
    match call.action.as_str() {
        "StartSnapshot" => start(inner, call),
        "PutSnapshotBlock" => put(inner, call, id(1), id(3)),
        "CompleteSnapshot" => complete(inner, call, id(2), fails),
        "ListSnapshotBlocks" => list(inner, call, id(1)),
        "ListChangedBlocks" => changed(inner, call, id(1)),
        _ => get(inner, call, id(1), id(3)),
    }
}

fn invalid(reason: &'static str, message: impl ToString) -> Refusal {
    Refusal::new("ValidationException", message).because(reason)
}

fn missing(id: &str) -> Refusal {
    let message = format!("The snapshot '{id}' does not exist.");
    Refusal::status(404, "ResourceNotFoundException", message).because("SNAPSHOT_NOT_FOUND")
}

fn start(inner: &Inner, call: &Call) -> Outcome {
    let asked: Value = serde_json::from_slice(&call.body)
        .map_err(|error| invalid("INVALID_PARAMETER_VALUE", error))?;
    let text = |name: &str| asked[name].as_str().map(str::to_owned);
    let gib = asked["VolumeSize"].as_u64().unwrap_or(0);
    if !(1..=LARGEST).contains(&gib) {
        return Err(invalid(
            "INVALID_VOLUME_SIZE",
            "The volume size is not valid",
        ));
    }
    if let Some(minutes) = asked["Timeout"].as_u64()
        && !TIMEOUT.contains(&minutes)
    {
        return Err(invalid(
            "INVALID_PARAMETER_VALUE",
            "Timeout must be 10 to 4320",
        ));
    }
    let parent = text("ParentSnapshotId");
    if parent.is_some() && !asked["Encrypted"].is_null() {
        let message = "ParentSnapshotId and Encrypted cannot be given together";
        return Err(invalid("INVALID_PARAMETER_VALUE", message));
    }
    let mut world = inner.world.lock().unwrap();
    let (mut blocks, mut encrypted) = (super::store::Blocks::new(), asked["Encrypted"] == true);
    if let Some(parent) = &parent {
        let parent = world
            .snapshot(parent, &call.account, &call.region)
            .map_err(|_| missing(parent))?;
        if parent.status() != "completed" {
            return Err(invalid(
                "INVALID_SNAPSHOT_ID",
                "The parent snapshot is not completed",
            ));
        }
        if parent.gib > gib {
            return Err(invalid(
                "INVALID_VOLUME_SIZE",
                "The volume is smaller than the parent's",
            ));
        }
        blocks.clone_from(&parent.blocks);
        encrypted = parent.encrypted;
    }
    let snapshot = Snapshot {
        id: super::id::resource("snap"),
        owner: call.account.clone(),
        region: call.region.clone(),
        description: text("Description").unwrap_or_default(),
        gib,
        progress: Progress::Open,
        blocks,
        written: BTreeSet::new(),
        parent,
        direct: true,
        tags: tags(&asked["Tags"])?,
        encrypted,
        volume: "vol-ffffffff".to_owned(),
        started: Timestamp::now().to_string(),
        shared: BTreeSet::new(),
    };
    let answer = started(&snapshot);
    world.snapshots.insert(snapshot.id.clone(), snapshot);
    Ok(answer)
}

fn started(snapshot: &Snapshot) -> Answer {
    let tags = snapshot.tags.iter();
    let tags: Vec<Value> = tags
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let started = snapshot
        .started
        .parse::<Timestamp>()
        .map_or(0, Timestamp::seconds);
    Answer::json(
        201,
        &json!({
            "SnapshotId": snapshot.id, "OwnerId": snapshot.owner, "Status": "pending",
            "StartTime": started, "VolumeSize": snapshot.gib, "BlockSize": BLOCK, "Tags": tags,
            "Description": snapshot.description, "ParentSnapshotId": snapshot.parent,
        }),
    )
}

fn tags(asked: &Value) -> Result<Tags, Refusal> {
    let tags = asked.as_array().into_iter().flatten();
    let tags: Tags = tags
        .map(|tag| {
            let text = |name: &str| tag[name].as_str().unwrap_or_default().to_owned();
            (text("Key"), text("Value"))
        })
        .collect();
    if tags.len() > 50
        || tags
            .keys()
            .any(|key| key.is_empty() || key.starts_with("aws:"))
    {
        return Err(invalid("INVALID_TAG", "The tags are not valid"));
    }
    Ok(tags)
}

/// The snapshot of an upload that goes on.
fn open<'a>(
    world: &'a mut super::world::World,
    call: &Call,
    id: &str,
) -> Result<&'a mut Snapshot, Refusal> {
    let snapshot = world
        .own_snapshot(id, &call.account, &call.region)
        .map_err(|_| missing(id))?;
    if !snapshot.direct || !matches!(snapshot.progress, Progress::Open) {
        let message = format!("The snapshot '{id}' is not pending");
        return Err(invalid("INVALID_SNAPSHOT_ID", message));
    }
    Ok(snapshot)
}

fn put(inner: &Inner, call: &Call, id: &str, index: &str) -> Outcome {
    let mut world = inner.world.lock().unwrap();
    let snapshot = open(&mut world, call, id)?;
    let bad = |message: &str| invalid("INVALID_PARAMETER_VALUE", message);
    let index: u32 = index
        .parse()
        .map_err(|_| invalid("INVALID_BLOCK", "The block index is not valid"))?;
    if u64::from(index) * BLOCK as u64 >= snapshot.gib << 30 {
        return Err(invalid(
            "INVALID_BLOCK",
            "The block index is beyond the volume's end",
        ));
    }
    if call.header("x-amz-data-length") != BLOCK.to_string() || call.body.len() != BLOCK {
        return Err(bad("The data length must be 524288"));
    }
    if call.header("x-amz-checksum-algorithm") != "SHA256" {
        return Err(bad("The checksum algorithm must be SHA256"));
    }
    let checksum = BASE64.encode(&digest(&call.body));
    if call.header("x-amz-checksum") != checksum {
        return Err(bad("The checksum does not match the data"));
    }
    let kept = inner.store.lock().unwrap().put(&call.body);
    snapshot.blocks.insert(index, kept);
    snapshot.written.insert(index);
    let answer = Answer::json(201, &json!({}));
    Ok(answer
        .with("x-amz-Checksum", checksum)
        .with("x-amz-Checksum-Algorithm", "SHA256"))
}

fn complete(inner: &Inner, call: &Call, id: &str, fails: bool) -> Outcome {
    let delay = inner.delay(&call.account);
    let mut world = inner.world.lock().unwrap();
    let snapshot = open(&mut world, call, id)?;
    let bad = |message: &str| invalid("INVALID_PARAMETER_VALUE", message);
    if call.header("x-amz-changedblockscount") != snapshot.written.len().to_string() {
        return Err(bad(
            "The count of changed blocks is not that of the blocks written",
        ));
    }
    let checksum = call.header("x-amz-checksum");
    if !checksum.is_empty() {
        let named = (
            call.header("x-amz-checksum-algorithm"),
            call.header("x-amz-checksum-aggregation-method"),
        );
        if named != ("SHA256", "LINEAR") {
            return Err(bad("Checksums are SHA256, aggregated LINEAR"));
        }
        let written = snapshot
            .written
            .iter()
            .flat_map(|index| snapshot.blocks[index]);
        let all: Vec<u8> = written.collect();
        if checksum != BASE64.encode(&digest(&all)) {
            return Err(bad("The checksum does not match the blocks"));
        }
    }
    snapshot.progress = Progress::after(delay, fails);
    Ok(Answer::json(202, &json!({"Status": "pending"})))
}

/// The snapshot of a call that reads.
fn readable<'a>(
    world: &'a super::world::World,
    call: &Call,
    id: &str,
) -> Result<&'a Snapshot, Refusal> {
    let snapshot = world
        .snapshot(id, &call.account, &call.region)
        .map_err(|_| missing(id))?;
    if snapshot.progress.stage() != Stage::Done {
        let message = format!("The snapshot '{id}' is not completed");
        return Err(invalid("INVALID_SNAPSHOT_ID", message));
    }
    Ok(snapshot)
}

fn token(snapshot: &Snapshot, index: u32) -> String {
    BASE64.encode(format!("{}/{index}", snapshot.id).as_bytes())
}

fn get(inner: &Inner, call: &Call, id: &str, index: &str) -> Outcome {
    let world = inner.world.lock().unwrap();
    let snapshot = readable(&world, call, id)?;
    let index: u32 = index
        .parse()
        .map_err(|_| invalid("INVALID_BLOCK", "The block index is not valid"))?;
    if call.query().text("blockToken") != token(snapshot, index) {
        return Err(invalid(
            "INVALID_BLOCK_TOKEN",
            "The block token is not valid",
        ));
    }
    let block = snapshot
        .blocks
        .get(&index)
        .ok_or_else(|| invalid("INVALID_BLOCK", "No such block"))?;
    let body = inner.store.lock().unwrap().get(block);
    let answer = Answer {
        status: 200,
        headers: vec![("content-type".into(), "application/octet-stream".into())],
        body,
    };
    Ok(answer
        .with("x-amz-Data-Length", BLOCK)
        .with("x-amz-Checksum", BASE64.encode(block))
        .with("x-amz-Checksum-Algorithm", "SHA256"))
}

fn list(inner: &Inner, call: &Call, id: &str) -> Outcome {
    let world = inner.world.lock().unwrap();
    let snapshot = readable(&world, call, id)?;
    let all = snapshot.blocks.keys().copied().collect();
    let (page, next) = page(call, all)?;
    let block = |index: u32| json!({"BlockIndex": index, "BlockToken": token(snapshot, index)});
    let blocks: Vec<Value> = page.into_iter().map(block).collect();
    Ok(listed(snapshot, "Blocks", blocks, next.as_deref()))
}

fn changed(inner: &Inner, call: &Call, id: &str) -> Outcome {
    let world = inner.world.lock().unwrap();
    let second = readable(&world, call, id)?;
    let first_id = call.query().text("firstSnapshotId").to_owned();
    let first = if first_id.is_empty() {
        None
    } else {
        Some(readable(&world, call, &first_id)?)
    };
    let old = |index: u32| first.and_then(|first| first.blocks.get(&index));
    let indices: BTreeSet<u32> = second
        .blocks
        .keys()
        .chain(first.iter().flat_map(|first| first.blocks.keys()))
        .copied()
        .collect();
    let differ = indices
        .into_iter()
        .filter(|&index| old(index) != second.blocks.get(&index));
    let (page, next) = page(call, differ.collect())?;
    let block = |index: u32| {
        let mut block = json!({"BlockIndex": index});
        if let Some(first) = first
            && first.blocks.contains_key(&index)
        {
            block["FirstBlockToken"] = json!(token(first, index));
        }
        if second.blocks.contains_key(&index) {
            block["SecondBlockToken"] = json!(token(second, index));
        }
        block
    };
    let blocks: Vec<Value> = page.into_iter().map(block).collect();
    Ok(listed(second, "ChangedBlocks", blocks, next.as_deref()))
}

fn listed(snapshot: &Snapshot, name: &str, blocks: Vec<Value>, next: Option<&str>) -> Answer {
    let expires = Timestamp::now().seconds() + 7 * 24 * 3600;
    let mut body = json!({
        "ExpiryTime": expires, "VolumeSize": snapshot.gib, "BlockSize": BLOCK, "NextToken": next,
    });
    body[name] = Value::Array(blocks);
    Answer::json(200, &body)
}

/// A page of block indices, and the token of the next one.
fn page(call: &Call, all: Vec<u32>) -> Result<(Vec<u32>, Option<String>), Refusal> {
    let query = call.query();
    let number = |name: &str| {
        query
            .get(name)
            .and_then(|value| value.parse::<usize>().ok())
    };
    let most = number("maxResults").unwrap_or(*PAGE.end());
    if !PAGE.contains(&most) {
        return Err(invalid(
            "INVALID_PARAMETER_VALUE",
            "MaxResults must be 100 to 10000",
        ));
    }
    let from = match query.get("pageToken") {
        Some(token) => {
            let number = token
                .strip_prefix("from-")
                .and_then(|number| number.parse().ok());
            number.ok_or_else(|| invalid("INVALID_PAGE_TOKEN", "The page token is not valid"))?
        }
        None => number("startingBlockIndex").unwrap_or(0),
    };
    let mut rest = all.into_iter().filter(|&index| index as usize >= from);
    let page: Vec<u32> = rest.by_ref().take(most).collect();
    Ok((page, rest.next().map(|index| format!("from-{index}"))))
}
