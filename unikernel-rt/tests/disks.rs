//! Simulated disks keep their promises, and break those that are to be broken.

use std::future::poll_fn;
use unikernel_rt::{
    device::{BlockCompletion, BlockDevice, BlockError, BlockOp, BlockRequest, Buffer},
    sim::{Behaviour, FileDisk, SimDisk, Survivors},
    time::{Duration, Instant},
};

fn write(tag: u64, offset: u64, bytes: &[u8]) -> BlockRequest {
    let buffers = vec![Buffer::from_bytes(bytes)];
    BlockRequest { tag, op: BlockOp::Write, offset, len: bytes.len() as u64, buffers }
}

fn read(tag: u64, offset: u64, len: usize) -> BlockRequest {
    BlockRequest { tag, op: BlockOp::Read, offset, len: len as u64, buffers: vec![Buffer::new(len)] }
}

const FLUSH: BlockRequest = BlockRequest { tag: 0, op: BlockOp::Flush, offset: 0, len: 0, buffers: Vec::new() };

async fn wait(device: &mut dyn BlockDevice) -> BlockCompletion {
    device.kick();
    poll_fn(|cx| device.poll_ready(cx)).await;
    device.complete().expect("it is ready")
}

async fn run(device: &mut dyn BlockDevice, request: BlockRequest) -> Result<BlockRequest, BlockError> {
    device.submit(request).expect("the queue is empty");
    let BlockCompletion { request, result } = wait(device).await;
    result.map(|()| request)
}

#[unikernel_rt::test]
async fn what_is_written_is_read() {
    let disk = SimDisk::new(1 << 20);
    let mut device = disk.device();
    run(&mut *device, write(1, 3584, &[7; 1024])).await.unwrap();
    let back = run(&mut *device, read(2, 3072, 2048)).await.unwrap();
    let expected = [vec![0; 512], vec![7; 1024], vec![0; 512]].concat();
    assert_eq!((back.tag, &back.buffers[0][..]), (2, &expected[..]));
    assert_eq!(disk.peek(4095, 2), [7, 7]);
}

#[unikernel_rt::test]
async fn requests_take_time_and_overtake() {
    let disk = SimDisk::with(1 << 20, 4096, Behaviour { delay: Duration::from_millis(1), reorders: true, seed: 5 });
    let mut device = disk.device();
    (0..20).for_each(|tag| device.submit(read(tag, tag * 4096, 4096)).unwrap());
    let mut order = Vec::new();
    for _ in 0..20 {
        order.push(wait(&mut *device).await.request.tag);
    }
    assert!(Instant::now() >= Instant::from_millis(1) && Instant::now() <= Instant::from_millis(3));
    assert!(!order.is_sorted(), "{order:?}");
    order.sort();
    assert!(order.into_iter().eq(0..20));
}

#[unikernel_rt::test]
async fn faults_come_as_ordered_and_a_gone_disk_stays_gone() {
    let disk = SimDisk::new(1 << 20);
    let mut device = disk.device();
    disk.fail(BlockOp::Read, 4096..8192, BlockError::Io, 1);
    run(&mut *device, read(1, 0, 4096)).await.unwrap();
    assert_eq!(run(&mut *device, read(1, 0, 8192)).await.unwrap_err(), BlockError::Io);
    run(&mut *device, read(1, 0, 8192)).await.unwrap();
    disk.remove();
    assert_eq!(run(&mut *device, FLUSH).await.unwrap_err(), BlockError::Gone);
}

#[unikernel_rt::test]
async fn a_cut_keeps_what_was_flushed_and_any_of_the_rest() {
    let disk = SimDisk::new(1 << 20);
    disk.poke(0, &[1; 4096]);
    disk.record();
    let mut device = disk.device();
    run(&mut *device, write(0, 0, &[2; 512])).await.unwrap();
    run(&mut *device, FLUSH).await.unwrap();
    run(&mut *device, write(0, 512, &[3; 1024])).await.unwrap();
    assert_eq!(disk.recorded(), 3);
    let recording = disk.end_recording();
    let check = |count, survivors, expected: &[u8]| {
        let bytes = recording.cut(count, survivors).peek(0, 2048);
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[511]).collect();
        assert_eq!(sectors, expected, "{count} {survivors:?}");
    };
    check(0, Survivors::All, &[1, 1, 1, 1]);
    check(1, Survivors::None, &[1, 1, 1, 1]);
    check(1, Survivors::All, &[2, 1, 1, 1]);
    check(2, Survivors::None, &[2, 1, 1, 1]);
    check(3, Survivors::None, &[2, 1, 1, 1]);
    check(3, Survivors::All, &[2, 3, 3, 1]);
    let one_of_two = |seed| {
        let bytes = recording.cut(3, Survivors::Some(seed)).peek(512, 1024);
        bytes[0] != bytes[1023]
    };
    assert!((0..50).any(one_of_two), "a write is never cut between its sectors");
    let torn = |seed| {
        let bytes = recording.cut(3, Survivors::Torn(seed)).peek(512, 512);
        bytes[0] != bytes[511]
    };
    assert!((0..50).any(torn), "no sector is ever torn");
}

#[unikernel_rt::test]
async fn a_file_is_a_disk() {
    let folder = std::env::temp_dir().join(format!("unikernel-file-disk-{}", std::process::id()));
    std::fs::write(&folder, vec![5; 10_000]).unwrap();
    let mut device = FileDisk::device(&folder, true).unwrap();
    assert_eq!(device.info().len, 9728);
    run(&mut *device, write(0, 512, &[6; 512])).await.unwrap();
    run(&mut *device, FLUSH).await.unwrap();
    let back = run(&mut *device, read(0, 0, 1536)).await.unwrap();
    assert_eq!([0, 512, 1024].map(|at| back.buffers[0][at]), [5, 6, 5]);
    let mut device = FileDisk::device(&folder, false).unwrap();
    assert_eq!(run(&mut *device, write(0, 0, &[6; 512])).await.unwrap_err(), BlockError::Unsupported);
    std::fs::remove_file(&folder).unwrap();
}
