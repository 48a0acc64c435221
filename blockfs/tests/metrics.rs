//! What a disk counts.

use unikernel_blockfs::Disk;
use unikernel_rt::{metrics::text, sim::SimDisk, task::yield_now};

#[unikernel_rt::test]
async fn requests_are_counted() {
    let disk = Disk::new(SimDisk::new(1 << 20).device());
    disk.read(0, 4096).await.unwrap();
    disk.read(8192, 4096).await.unwrap();
    disk.write_bytes(0, &[7; 512]).await.unwrap();
    disk.flush().await.unwrap();
    let page = text();
    for (line, least) in [
        ("unikernel_disk_request_duration_seconds_count{disk=\"#0\",op=\"read\"}", 2),
        ("unikernel_disk_bytes_total{disk=\"#0\",op=\"read\"}", 8192),
        ("unikernel_disk_bytes_total{disk=\"#0\",op=\"write\"}", 512),
        ("unikernel_disk_request_duration_seconds_count{disk=\"#0\",op=\"flush\"}", 1),
    ] {
        let value = page.lines().find_map(|other| other.strip_prefix(line)).map(|value| value.trim().parse::<u64>());
        assert!(matches!(value, Some(Ok(value)) if value >= least), "{line} {least} in\n{page}");
    }
    assert!(page.contains("\nunikernel_disk_requests_in_flight{disk=\"#0\"} 0\n"));
    assert!(page.contains("\nunikernel_disk_errors_total{disk=\"#0\",op=\"write\"} 0\n"));
    let other = Disk::new(SimDisk::new(1 << 20).device());
    assert!(text().contains("\nunikernel_disk_requests_in_flight{disk=\"#1\"} 0\n"), "both have the same name");
    drop((disk, other));
    // Its task ends.
    yield_now().await;
    assert!(!text().contains("unikernel_disk"), "a disk that is gone is on the page");
}
