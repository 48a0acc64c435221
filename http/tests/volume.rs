//! `ServeDir` on a volume answers as it does on the same folder in the image.
#![cfg(feature = "volume")]
#![allow(missing_docs)]

mod common;

use common::{Answer, answers, exchange};
use unikernel_blockfs::{Cause, Disk, Format, Sealer, Volume};
use unikernel_http::{Dir, Router, ServeDir, include_dir};
use unikernel_rt::{device::BlockError, device::BlockOp, sim::SimDisk};

static SITE: Dir = include_dir!("tests/site");

/// The folder as an archive, with a seal.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    builder.append_dir_all("", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/site")).unwrap();
    let mut image = builder.into_inner().unwrap();
    image.resize(image.len().next_multiple_of(Sealer::PAGE_LEN), 0);
    let mut sealer = Sealer::new();
    image.chunks(Sealer::PAGE_LEN).for_each(|page| sealer.add(page));
    image.extend(sealer.finish());
    image
}

async fn mounted() -> (SimDisk, Volume) {
    let sim = SimDisk::from_bytes(&archive());
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    (sim, volume)
}

async fn ask(site: &ServeDir, line: &str, fields: &[&str]) -> Answer {
    let router = Router::new()
        .nest("/nested/deep", Router::new().fallback(site.clone()))
        .route("/route/{*path}", site.clone())
        .fallback(site.clone());
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let bytes = exchange(router, format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    answers(&bytes, if line.starts_with("HEAD") { &[0] } else { &[] }).remove(0)
}

/// Everything but tags and times, which come from elsewhere.
fn essence(answer: &Answer) -> String {
    let headers = ["content-type", "content-encoding", "content-length", "content-range", "location", "allow", "vary"]
        .map(|name| format!("{name}={}", answer.header(name).unwrap_or("")));
    let is_multipart = answer.header("content-type").is_some_and(|kind| kind.starts_with("multipart"));
    let rest = if is_multipart { String::new() } else { format!("{headers:?} {}", answer.text()) };
    format!("{} {rest}", answer.status)
}

#[unikernel_rt::test]
async fn it_answers_like_the_embedded_folder() {
    let (_, volume) = mounted().await;
    let (on_disk, embedded) = (ServeDir::new(volume), ServeDir::embedded(&SITE));
    let lines = [
        "GET /",
        "GET /index.html",
        "GET /?x=y",
        "GET /docs/",
        "GET /docs",
        "GET /docs?x=%20",
        "GET /digits.txt",
        "GET /%64igits%2etxt",
        "GET /%C3%BC%20b.json",
        "GET /docs%2Findex.html",
        "GET /empty.bin",
        "HEAD /digits.txt",
        "GET /digits.txt/",
        "GET /Digits.txt",
        "GET /.hidden",
        "GET /a.css",
        "GET /a.css.gz",
        "GET /nested/deep/",
        "GET /nested/deep",
        "GET /nested/%64eep/docs",
        "GET /route/docs/",
        "POST /digits.txt",
        "OPTIONS /digits.txt",
        "GET /../Cargo.toml",
        "GET /..",
        "GET //index.html",
        "GET /./index.html",
        "GET /%2e%2e%2fCargo.toml",
        "GET /index.html%00",
        "GET /%ff",
        "GET /docs//",
        "GET /%zz",
        "GET /nope",
    ];
    let fields: [&[&str]; 10] = [
        &[],
        &["Range: bytes=2-4"],
        &["Range: bytes=-3"],
        &["Range: bytes=8-100"],
        &["Range: bytes=100-"],
        &["Range: bytes=0-0,5-6"],
        &["Accept-Encoding: gzip, br"],
        &["Accept-Encoding: br;q=0, gzip"],
        &["If-None-Match: *"],
        &["If-Match: \"other\""],
    ];
    for line in lines {
        for fields in fields {
            // Twice: the second time the head is known.
            for _ in 0..2 {
                let (expected, found) = (ask(&embedded, line, fields).await, ask(&on_disk, line, fields).await);
                assert_eq!(essence(&found), essence(&expected), "{line} {fields:?}");
            }
        }
    }
}

#[unikernel_rt::test]
async fn tags_hold_while_the_content_does() {
    let (_, volume) = mounted().await;
    let site = ServeDir::new(volume);
    let first = ask(&site, "GET /digits.txt", &[]).await;
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    for (field, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-Modified-Since: {date}"), 304),
        (format!("If-Match: {tag}"), 200),
        (format!("If-None-Match: \"other\", {tag}"), 304),
    ] {
        assert_eq!(ask(&site, "GET /digits.txt", &[&field]).await.status, status, "{field}");
    }
    let part = ask(&site, "GET /digits.txt", &["Range: bytes=1-2", &format!("If-Range: {tag}")]).await;
    assert_eq!((part.status, &*part.text()), (206, "12"));
    let whole = ask(&site, "GET /digits.txt", &["Range: bytes=1-2", "If-Range: \"old\""]).await;
    assert_eq!((whole.status, &*whole.text()), (200, "0123456789"));
    // The same name, length and time with another content has another tag.
    let mut image = archive();
    let at = image.windows(10).position(|ten| ten == b"0123456789").unwrap();
    image[at] = b'x';
    let pages = image.len() / 4096 - 2;
    let mut sealer = Sealer::new();
    image[..pages * 4096].chunks(4096).for_each(|page| sealer.add(page));
    image.truncate(pages * 4096);
    image.extend(sealer.finish());
    let volume = Volume::mount(Disk::new(SimDisk::from_bytes(&image).device())).await.unwrap();
    let other = ask(&ServeDir::new(volume), "GET /digits.txt", &[]).await;
    assert_eq!(other.text(), "x123456789");
    assert_ne!(other.header("etag"), Some(tag));
}

#[unikernel_rt::test]
async fn large_files_stream_and_ranges_are_read_from_their_place() {
    let mut builder = tar::Builder::new(Vec::new());
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 1000) as u8).collect();
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, "big", &content[..]).unwrap();
    let sim = SimDisk::from_bytes(&builder.into_inner().unwrap());
    let disk = Disk::new(sim.device());
    disk.set_cache_len(512 * 1024);
    let site = ServeDir::new(Volume::mount(disk.clone()).await.unwrap());
    assert!(ask(&site, "GET /big", &[]).await.body == content);
    let part = ask(&site, "GET /big", &["Range: bytes=2000000-2999999"]).await;
    assert!(part.status == 206 && part.body == content[2_000_000..]);
    let parts = ask(&site, "GET /big", &["Range: bytes=0-9,1500000-1500009"]).await;
    assert!(parts.status == 206 && parts.text().contains("bytes 1500000-1500009/3000000"));
    assert!(disk.cache_stats().len <= 512 * 1024);
}

#[unikernel_rt::test]
async fn a_disk_that_fails_is_an_error_and_no_wrong_page() {
    let sim = SimDisk::from_bytes(&archive());
    let disk = Disk::new(sim.device());
    disk.set_cache_len(0);
    let site = ServeDir::new(Volume::mount(disk).await.unwrap());
    assert_eq!(ask(&site, "GET /digits.txt", &[]).await.text(), "0123456789");
    sim.fail(BlockOp::Read, 0..sim.len(), BlockError::Io, 100);
    let answer = ask(&site, "GET /digits.txt", &[]).await;
    assert_eq!((answer.status, &*answer.text()), (500, "the disk failed\n"));
    sim.poke(0, &[0xff; 4096]);
    assert!(Volume::mount(Disk::new(sim.device())).await.is_err());
}

#[unikernel_rt::test]
async fn a_volume_that_changes_is_served_as_it_is() {
    let sim = SimDisk::new(4 << 20);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    let site = ServeDir::new(volume.clone());
    assert_eq!(ask(&site, "GET /page.html", &[]).await.status, 404);
    for text in ["one", "two", "three and more"] {
        volume.write("page.html", text.as_bytes()).await.unwrap();
        assert_eq!(ask(&site, "GET /page.html", &[]).await.text(), text);
    }
    volume.remove("page.html").await.unwrap();
    assert_eq!(ask(&site, "GET /page.html", &[]).await.status, 404);
    assert_eq!(volume.open("page.html").await.unwrap_err().cause(), &Cause::NotFound);
}
