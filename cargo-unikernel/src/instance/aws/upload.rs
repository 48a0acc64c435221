//! From a disk to a snapshot, by the EBS direct APIs.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_ebs::{
    Client,
    config::{Builder, timeout::TimeoutConfig},
    primitives::ByteStream,
    types::{ChecksumAggregationMethod, ChecksumAlgorithm},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::task::JoinSet;

use super::{
    client::{failed, is_unknown, settled},
    disk::{BLOCK_LEN, Block, Checksum, Disk},
    tags::Tags,
};

/// Blocks on their way at a time: 4 MiB of memory, and enough for a line of which half is round trips.
pub const IN_FLIGHT: usize = 8;
/// How long a block may take, on a line that it shares with the others: 14 kB a second.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(300);
/// When nothing comes for so long, AWS gives up a snapshot; the least that the API takes.
pub const TIMEOUT_MINUTES: i32 = 10;

/// Begins a snapshot; its id.
pub async fn start(ebs: &Client, disk: &Disk, tags: &Tags, description: &str) -> Result<String> {
    let call = ebs.start_snapshot().volume_size(disk.volume_gib().into()).description(description);
    let call = call.timeout(TIMEOUT_MINUTES).set_tags(Some(tags.ebs()));
    let snapshot = call.send().await.map_err(failed("StartSnapshot"))?;
    snapshot.snapshot_id.context("StartSnapshot names no snapshot")
}

/// Sends the blocks that are not empty, and seals the snapshot.
pub async fn fill(ebs: &Client, snapshot: &str, disk: &Disk) -> Result<()> {
    let (mut blocks, mut flying) = (disk.blocks(), JoinSet::new());
    let (mut sums, mut done) = (Checksum::default(), 0);
    loop {
        while flying.len() < IN_FLIGHT
            && let Some(block) = blocks.next()
        {
            let block = block?;
            let sha256 = block.sha256();
            sums.add(&sha256);
            flying.spawn(put(ebs.clone(), snapshot.to_owned(), block, BASE64_STANDARD.encode(sha256)));
        }
        let Some(sent) = flying.join_next().await else { break };
        sent.context("a task of the upload has failed")??;
        done += 1;
        show(done, disk.block_count);
    }
    let checksum = sums.finish();
    if checksum != disk.checksum {
        bail!("the image was changed while it was uploaded; try again");
    }
    let call = ebs.complete_snapshot().snapshot_id(snapshot).changed_blocks_count(done).checksum(checksum);
    let call = call.checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256);
    let call = call.checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear);
    call.send().await.map_err(failed("CompleteSnapshot"))?;
    Ok(())
}

async fn put(ebs: Client, snapshot: String, block: Block, checksum: String) -> Result<()> {
    let send = || {
        let call = ebs.put_snapshot_block().snapshot_id(&snapshot).block_index(block.index);
        let call = call.data_length(BLOCK_LEN as i32).block_data(ByteStream::from(block.bytes.clone()));
        let call = call.checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256).checksum(&checksum);
        let times = TimeoutConfig::builder().operation_timeout(BLOCK_TIME_MAX).build();
        call.customize().config_override(Builder::new().timeout_config(times)).send()
    };
    settled(is_unknown, send).await.map_err(failed("PutSnapshotBlock"))?;
    Ok(())
}

/// On a terminal one line that changes.
fn show(done: i32, all: i32) {
    let mib = |blocks: i32| (blocks as usize * BLOCK_LEN) >> 20;
    if stderr().is_terminal() {
        let end = if done == all { "\n" } else { "" };
        eprint!("\runikernel: {} of {} MiB are uploaded{end}", mib(done), mib(all));
    }
}
