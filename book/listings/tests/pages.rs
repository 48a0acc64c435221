//! The book shows code that is compiled, and nothing else; and it leaves out no page and no bound.

use std::{collections::BTreeSet, fs, path::Path};

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src");

/// Name and text of every page.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(PAGES).unwrap().map(|entry| entry.unwrap().path());
    let page = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), text)
    };
    entries.map(page).collect()
}

/// What stands in `{{#include …}}` on a page.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{#include ").skip(1).map(|rest| rest.split("}}").next().unwrap())
}

/// What is wrong with an include; mdBook itself would show nothing, or too much.
fn fault(include: &str) -> Option<String> {
    let (path, anchor) = include.split_once(':').map_or((include, None), |(path, anchor)| (path, Some(anchor)));
    let Ok(text) = fs::read_to_string(Path::new(PAGES).join(path)) else {
        return Some(format!("there is no {path}"));
    };
    let anchor = anchor?;
    let has = |mark: &str| text.lines().filter(|line| line.trim() == format!("// {mark}: {anchor}")).count() == 1;
    (!has("ANCHOR") || !has("ANCHOR_END")).then(|| format!("{path} has not one anchor {anchor}"))
}

#[test]
fn every_include_is_there() {
    let faults: Vec<_> = pages()
        .iter()
        .flat_map(|(name, text)| includes(text).filter_map(move |i| Some((name.clone(), fault(i)?))))
        .collect();
    assert_eq!(faults, []);
}

#[test]
fn rust_stands_in_files_that_are_compiled() {
    for (name, text) in pages() {
        let mut listings = text.split("```rust").skip(1).map(|rest| rest.split_once('\n').map_or("", |(_, code)| code));
        let loose = listings.find(|code| !code.starts_with("{{#include "));
        assert_eq!(loose, None, "{name} has a listing of its own: put it into book/listings");
    }
}

#[test]
fn every_listing_is_shown() {
    let shown: BTreeSet<String> = pages().iter().flat_map(|(_, text)| includes(text).map(str::to_owned)).collect();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = file.unwrap().path();
        for anchor in
            fs::read_to_string(&path).unwrap().lines().filter_map(|line| line.trim().strip_prefix("// ANCHOR: "))
        {
            let include = format!("../listings/src/{}:{anchor}", path.file_name().unwrap().to_string_lossy());
            assert!(shown.contains(&include), "no page shows {include}");
        }
    }
}

#[test]
fn every_page_is_in_the_summary() {
    let pages = pages();
    let summary = &pages.iter().find(|(name, _)| name == "SUMMARY.md").unwrap().1;
    let missing: Vec<_> =
        pages.iter().filter(|(name, _)| name != "SUMMARY.md" && !summary.contains(&format!("({name})"))).collect();
    assert_eq!(missing, [] as [&(String, String); 0]);
}

#[test]
fn every_boot_argument_of_the_network_is_explained() {
    let config = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../net/src/config.rs")).unwrap();
    let table = config.lines().filter(|line| line.trim_start().starts_with("/// | `"));
    let arguments: Vec<&str> =
        table.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(arguments.len() > 10, "the table in config.rs is read: {arguments:?}");
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let book: String = pages().into_iter().map(|(_, text)| text).collect();
    for argument in arguments {
        assert!(book.contains(argument), "no page names `{argument}`");
        assert!(readme.contains(argument), "README.md does not name `{argument}`");
    }
}
