//! A real browser looks at what machines serve: an example's page, and the book from a volume.

use e2e::{browser::Browser, image::tool, vm::Vm};
use serde_json::json;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// What came with the page and is not as it should be: answers that are none, and pictures that cannot be shown.
const BROKEN: &str = "const entries = performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'));
    const bad = entries.filter(entry => entry.responseStatus != 200 && entry.responseStatus != 304).map(entry => entry.name);
    return bad.concat([...document.images].filter(image => image.naturalWidth == 0).map(image => image.src));";

/// Screenshots are for people: `script/screenshots` has them put where the book takes them from.
fn screenshot(browser: &Browser, name: &str) {
    let folder = env::var_os("UNIKERNEL_SCREENSHOTS").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    browser.takes_screenshot(&folder.join(name));
}

fn browser() -> (TempDir, Browser) {
    let profile = tempfile::tempdir().unwrap();
    let browser = Browser::start(profile.path());
    (profile, browser)
}

/// Opens a page, on which nothing may be broken.
fn opens(browser: &Browser, vm: &Vm, path: &str) {
    browser.opens(&vm.url(path));
    assert_eq!(browser.asks(BROKEN), json!([]), "{path}");
    assert_eq!(browser.complaints(), [""; 0], "{path}");
}

#[test]
fn the_page_of_static_site() {
    let vm = Vm::serving("static-site", "");
    let (_profile, browser) = browser();
    opens(&browser, &vm, "/");
    assert_eq!(browser.asks("return document.title"), "A web site that is a virtual machine");
    // The style sheet, two pictures, and nothing else.
    let count =
        "return performance.getEntriesByType('resource').filter(entry => entry.name.match(/(css|svg|png)$/)).length";
    assert!(browser.asks(count).as_u64() >= Some(3), "{}", browser.asks(count));
    let style = "return getComputedStyle(document.querySelector('.cards')).display";
    assert_eq!(browser.asks(style), "grid", "the style sheet is applied");
    screenshot(&browser, "static-site.png");
    // What is not there is a complaint: so the others above can fail.
    browser.opens(&vm.url("/nothing"));
    assert!(browser.asks(BROKEN).as_array().unwrap().contains(&json!(vm.url("/nothing"))));
    assert!(!browser.complaints().is_empty());
}

/// The book, as mdBook makes it, in an image of a disk.
fn volume(folder: &Path) -> PathBuf {
    let (book, image) = (folder.join("book"), folder.join("book.erofs"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book");
    let tools = source.join("../target/tools/bin");
    let path = env::join_paths(env::split_paths(&env::var_os("PATH").unwrap_or_default()).chain([tools])).unwrap();
    let mut build = Command::new("mdbook");
    build.arg("build").arg(&source).arg("--dest-dir").arg(&book).env("PATH", path);
    let built = build.output().expect("mdbook starts; script/test installs it");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut make = Command::new(tool());
    make.args(["image", "fs", "create"]).arg(&book).arg("-o").arg(&image);
    assert!(make.status().unwrap().success());
    image
}

#[test]
fn every_page_of_the_book_served_by_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    let vm = Vm::serving("site-from-disk", &format!("--disk {}", volume(folder.path()).display()));
    let (_profile, browser) = browser();
    let pages = fs::read_dir(folder.path().join("book")).unwrap().map(|entry| entry.unwrap().file_name());
    let pages = pages.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".html"));
    let of_reader = |name: &String| !["404.html", "print.html", "toc.html"].contains(&name.as_str());
    let pages: Vec<String> = pages.filter(of_reader).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        opens(&browser, &vm, &format!("/{page}"));
        let title = browser.asks("return document.querySelector('main h1, main h2').innerText");
        assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{page}: {title}");
        let width = "return document.querySelector('main').scrollWidth - document.documentElement.clientWidth";
        assert!(browser.asks(width).as_i64() <= Some(0), "{page} is wider than the window");
    }
    opens(&browser, &vm, "/how-it-works.html");
    screenshot(&browser, "book.png");
}
