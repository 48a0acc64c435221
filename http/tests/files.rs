//! `ServeDir`: names, preconditions, ranges and encodings.
#![allow(missing_docs)]

mod common;

use common::{Answer, answers, block_on, exchange};
use unikernel_http::{Dir, Router, ServeDir, include_dir};

static SITE: Dir = include_dir!("tests/site");

fn router() -> Router {
    let site = ServeDir::embedded(&SITE);
    Router::new()
        .nest("/nested/deep", Router::new().fallback(site.clone()))
        .route("/route/{*path}", site.clone())
        .route("/param/{name}", site.clone())
        .fallback(site)
}

async fn ask(line: &str, fields: &[&str]) -> Answer {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let bytes = exchange(router(), format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    answers(&bytes, if line.starts_with("HEAD") { &[0] } else { &[] }).remove(0)
}

/// "STATUS BODY", or the header that says where else.
#[track_caller]
fn check(line: &'static str, fields: &'static [&'static str], expected: &'static str) {
    block_on(async move {
        let answer = ask(line, fields).await;
        let more = match answer.status {
            308 => answer.header("location").unwrap().to_owned(),
            405 | 204 => answer.header("allow").unwrap().to_owned(),
            416 => answer.header("content-range").unwrap().to_owned(),
            206 => format!("{} {}", answer.header("content-range").unwrap_or("multipart"), answer.text()),
            _ => answer.text(),
        };
        assert_eq!(format!("{} {more}", answer.status).trim_end(), expected, "{line} {fields:?}");
    });
}

#[test]
fn names() {
    for (line, expected) in [
        ("GET /", "200 <h1>hi</h1>"),
        ("GET /index.html", "200 <h1>hi</h1>"),
        ("GET /?x=y", "200 <h1>hi</h1>"),
        ("GET http://a", "200 <h1>hi</h1>"),
        ("GET /docs/", "200 docs"),
        ("GET /docs", "308 /docs/"),
        ("GET /docs?x=%20", "308 /docs/?x=%20"),
        ("GET /digits.txt", "200 0123456789"),
        ("GET /%64igits%2etxt", "200 0123456789"),
        ("GET /%C3%BC%20b.json", "200 u"),
        ("GET /docs%2Findex.html", "200 docs"),
        ("GET /empty.bin", "200"),
        ("HEAD /digits.txt", "200"),
        ("GET /digits.txt/", "404 not found"),
        ("GET /Digits.txt", "404 not found"),
        ("GET /.hidden", "404 not found"),
        ("GET /a.css.gz", "404 not found"),
        ("GET /nested/deep/digits.txt", "200 0123456789"),
        ("GET /nested/deep/", "200 <h1>hi</h1>"),
        ("GET /nested/deep", "200 <h1>hi</h1>"),
        ("GET /nested/%64eep/docs", "308 /nested/%64eep/docs/"),
        ("GET /route/docs/", "200 docs"),
        ("GET /param/digits.txt", "200 0123456789"),
        ("POST /digits.txt", "405 GET, HEAD, OPTIONS"),
        ("DELETE /nope", "405 GET, HEAD, OPTIONS"),
        ("OPTIONS /digits.txt", "204 GET, HEAD, OPTIONS"),
    ] {
        check(line, &[], expected);
    }
}

#[test]
fn no_way_out_of_the_folder() {
    for line in [
        "GET /../Cargo.toml",
        "GET /..",
        "GET /../",
        "GET /docs/../index.html",
        "GET /./index.html",
        "GET //index.html",
        "GET /%2e%2e/Cargo.toml",
        "GET /..%2fCargo.toml",
        "GET /%2e%2e%2fCargo.toml",
        "GET /..\\Cargo.toml",
        "GET /..%5cCargo.toml",
        "GET /docs/..%2f..%2fCargo.toml",
        "GET //etc/passwd",
        "GET /%2fetc/passwd",
        "GET /index.html%00",
        "GET /%00",
        "GET /nested/deep/../../../Cargo.toml",
        "GET /route/../digits.txt",
        "GET /%ff",
        "GET //docs",
        "GET /docs//",
    ] {
        check(line, &[], "404 not found");
    }
    check("GET /%zz", &[], "400 the path has a `%` without two digits");
}

#[unikernel_rt::test]
async fn headers() {
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/a.css", "text/css; charset=utf-8"),
        ("/digits.txt", "text/plain; charset=utf-8"),
        ("/empty.bin", "application/octet-stream"),
        ("/%C3%BC%20b.json", "application/json"),
    ] {
        let answer = ask(&format!("GET {path}"), &[]).await;
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert!(answer.header("etag").unwrap().starts_with('"'));
        assert!(answer.header("last-modified").unwrap().ends_with(" GMT"));
        assert_eq!(answer.header("vary"), (path == "/a.css").then_some("Accept-Encoding"), "{path}");
    }
}

#[unikernel_rt::test]
async fn preconditions() {
    let now = ask("GET /digits.txt", &[]).await;
    let (etag, date) = (now.header("etag").unwrap(), now.header("last-modified").unwrap());
    let (early, late) = ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT");
    for (fields, status) in [
        (vec![format!("If-None-Match: {etag}")], 304),
        (vec![format!("If-None-Match: W/{etag}")], 304),
        (vec![format!("If-None-Match: \"x\", {etag}")], 304),
        (vec!["If-None-Match: \"x\"".into(), format!("if-none-match: {etag}")], 304),
        (vec!["If-None-Match: *".into()], 304),
        (vec!["If-None-Match: \"x\"".into()], 200),
        (vec!["If-None-Match: garbage".into()], 200),
        (vec![format!("If-Modified-Since: {date}")], 304),
        (vec![format!("If-Modified-Since: {late}")], 304),
        (vec![format!("If-Modified-Since: {early}")], 200),
        (vec!["If-Modified-Since: yesterday".into()], 200),
        // The tag is the better witness: the date is not looked at.
        (vec!["If-None-Match: \"x\"".into(), format!("If-Modified-Since: {late}")], 200),
        (vec![format!("If-None-Match: {etag}"), format!("If-Modified-Since: {early}")], 304),
        (vec![format!("If-Match: {etag}")], 200),
        (vec!["If-Match: *".into()], 200),
        (vec!["If-Match: \"x\"".into()], 412),
        (vec![format!("If-Match: W/{etag}")], 412),
        (vec![format!("If-Unmodified-Since: {early}")], 412),
        (vec![format!("If-Unmodified-Since: {date}")], 200),
        (vec![format!("If-Match: {etag}"), format!("If-Unmodified-Since: {early}")], 200),
        (vec![format!("If-Match: {etag}"), format!("If-None-Match: {etag}")], 304),
    ] {
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        for method in ["GET", "HEAD"] {
            let answer = ask(&format!("{method} /digits.txt"), &fields).await;
            assert_eq!(answer.status, status, "{method} {fields:?}");
            if status == 304 {
                assert_eq!((answer.header("etag"), answer.header("content-length")), (Some(etag), None));
            }
        }
    }
}

#[test]
fn ranges() {
    for (field, expected) in [
        (&["Range: bytes=0-3"], "206 bytes 0-3/10 0123"),
        (&["Range: bytes=7-"], "206 bytes 7-9/10 789"),
        (&["Range: bytes=-2"], "206 bytes 8-9/10 89"),
        (&["Range: bytes=5-99"], "206 bytes 5-9/10 56789"),
        (&["Range: bytes=10-"], "416 bytes */10"),
        (&["Range: bytes=-0"], "416 bytes */10"),
        (&["Range: bytes=3-1"], "200 0123456789"),
        (&["Range: pages=1-2"], "200 0123456789"),
    ] {
        check("GET /digits.txt", field, expected);
    }
    check("HEAD /digits.txt", &["Range: bytes=0-3"], "200");
    check("GET /digits.txt", &["Range: bytes=0-3", "If-Range: \"x\""], "200 0123456789");
    check("GET /digits.txt", &["Range: bytes=0-3", "If-Range: Thu, 01 Jan 1970 00:00:00 GMT"], "200 0123456789");
    check("GET /empty.bin", &["Range: bytes=0-"], "416 bytes */0");
}

#[unikernel_rt::test]
async fn ranges_of_the_version_the_client_knows() {
    let now = ask("GET /digits.txt", &[]).await;
    let (etag, date) = (now.header("etag").unwrap(), now.header("last-modified").unwrap());
    for (validator, status) in [(etag.to_owned(), 206), (date.to_owned(), 206), (format!("W/{etag}"), 200)] {
        let answer = ask("GET /digits.txt", &["Range: bytes=0-3", &format!("If-Range: {validator}")]).await;
        assert_eq!(answer.status, status, "{validator}");
    }
}

#[unikernel_rt::test]
async fn several_ranges() {
    let answer = ask("GET /digits.txt", &["Range: bytes=0-1,-1"]).await;
    assert_eq!(answer.status, 206);
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range, text| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    assert_eq!(answer.text(), part("0-1", "01") + &part("9-9", "9") + &format!("\r\n--{boundary}--\r\n"));
    assert_eq!(answer.header("content-range"), None);
}

#[unikernel_rt::test]
async fn encodings() {
    let (plain, gzip, brotli) = ("body { color: red }\n", "GZ", "BR!");
    for (field, expected) in [
        ("X: none", plain),
        ("Accept-Encoding:", plain),
        ("Accept-Encoding: gzip", gzip),
        ("Accept-Encoding: GZIP;Q=0.5", gzip),
        ("Accept-Encoding: br", brotli),
        ("Accept-Encoding: gzip, deflate, br", gzip),
        ("Accept-Encoding: gzip;q=0.5, br;q=0.8", brotli),
        ("Accept-Encoding: gzip;q=0, br;q=0", plain),
        ("Accept-Encoding: *", gzip),
        ("Accept-Encoding: *;q=0, gzip", gzip),
        ("Accept-Encoding: gzip;q=0, *", brotli),
        ("Accept-Encoding: identity, gzip;q=0.5", plain),
        ("Accept-Encoding: identity;q=0", plain),
        ("Accept-Encoding: gzip;q=2", plain),
        ("Accept-Encoding: deflate, zstd", plain),
    ] {
        let answer = ask("GET /a.css", &[field]).await;
        assert_eq!(answer.text(), expected, "{field}");
        let coding = match expected {
            "GZ" => Some("gzip"),
            "BR!" => Some("br"),
            _ => None,
        };
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
    }
    // Each form is a representation of its own.
    let tag = async |field| ask("GET /a.css", &[field]).await.header("etag").unwrap().to_owned();
    let (gzip, plain) = (tag("Accept-Encoding: gzip").await, tag("X: y").await);
    assert_ne!(gzip, plain);
    assert_eq!(ask("GET /a.css", &["Accept-Encoding: gzip", &format!("If-None-Match: {plain}")]).await.status, 200);
}

#[test]
fn the_folder_can_be_read() {
    assert_eq!(SITE.get("digits.txt"), Some(&b"0123456789"[..]));
    assert_eq!(SITE.get("nope"), None);
    assert_eq!(
        SITE.paths().collect::<Vec<_>>(),
        ["a.css", "digits.txt", "docs/index.html", "empty.bin", "index.html", "ü b.json"]
    );
}
