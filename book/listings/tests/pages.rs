//! The book shows code that is compiled, and nothing else; and it leaves out no page and no bound.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src");

/// Name and text of every page.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(PAGES).unwrap().map(|entry| entry.unwrap().path());
    let page = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), text)
    };
    // Beside them are pictures.
    entries.filter(|path| path.extension().is_some_and(|end| end == "md")).map(page).collect()
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

/// What the page on the first app shows is what `cargo unikernel new` writes; only lines are broken elsewhere.
#[test]
fn the_first_app_is_the_template() {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let template = plain(&(from_root("templates/http/src/lib.rs") + &from_root("templates/http/src/main.rs")));
    let listing = from_root("book/listings/src/first_app.rs");
    for anchor in ["pages", "main"] {
        let (_, rest) = listing.split_once(&format!("// ANCHOR: {anchor}\n")).unwrap();
        let (shown, _) = rest.split_once(&format!("// ANCHOR_END: {anchor}\n")).unwrap();
        let shown = plain(shown.strip_prefix("pub async fn main").map_or(shown, |_| &shown["pub ".len()..]));
        assert!(template.contains(&shown), "{anchor}: {shown} in {template}");
    }
}

/// The pages that `list` does not link to, but for itself and the others named here.
fn pages_missing_in(list: &str, others: &[&str]) -> Vec<String> {
    let pages = pages();
    let text = &pages.iter().find(|(name, _)| name == list).unwrap().1;
    let is_missing = |name: &&String| !others.contains(&name.as_str()) && !text.contains(&format!("({name})"));
    pages.iter().map(|(name, _)| name).filter(is_missing).cloned().collect()
}

/// Where the links on a page lead, without those to other hosts.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.map(|target| target.split('#').next().unwrap()).filter(|file| !file.is_empty() && !file.contains(':'))
}

#[test]
fn every_link_leads_somewhere() {
    for (name, text) in pages() {
        let lost: Vec<_> = links(&text).filter(|file| !Path::new(PAGES).join(file).is_file()).collect();
        assert_eq!(lost, [""; 0], "{name}");
    }
}

#[test]
fn every_page_is_in_the_summary() {
    assert_eq!(pages_missing_in("SUMMARY.md", &["SUMMARY.md"]), [""; 0]);
}

#[test]
fn the_introduction_names_every_page() {
    assert_eq!(pages_missing_in("introduction.md", &["SUMMARY.md", "introduction.md"]), [""; 0]);
}

#[test]
fn every_boot_argument_of_the_network_is_explained() {
    let config = from_root("net/src/config.rs");
    let table = config.lines().filter(|line| line.trim_start().starts_with("/// | `"));
    let arguments: Vec<&str> =
        table.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(arguments.len() > 10, "the table in config.rs is read: {arguments:?}");
    let (readme, book) = (from_root("README.md"), book());
    for argument in arguments {
        assert!(book.contains(argument), "no page names `{argument}`");
        assert!(readme.contains(argument), "README.md does not name `{argument}`");
    }
}

/// The text of a file, by its path from the root of the repository.
fn from_root(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn book() -> String {
    pages().into_iter().map(|(_, text)| text).collect()
}

/// All Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => sources(&path, found),
            path if path.extension().is_some_and(|end| end == "rs") => found.push(fs::read_to_string(path).unwrap()),
            _ => {}
        }
    }
}

/// The names that the functions which read boot arguments are called with: `args::take("…")`, `args::take::<T>("…")`.
fn arguments_taken(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| ["args::take", "args::take_flag", "args.get"].map(|call| line.split(call).skip(1)))
        .flatten()
        .filter_map(|rest| {
            let rest = if rest.starts_with("::<") { rest.split_once(">(")?.1 } else { rest.strip_prefix('(')? };
            rest.strip_prefix('"')?.split('"').next()
        })
}

/// Every argument that a crate or an example takes has a row, or a place on a page.
#[test]
fn every_boot_argument_is_explained() {
    let mut found = Vec::new();
    for folder in ["unikernel-rt/src", "net/src", "tls/src", "http/src", "blockfs/src", "syslog/src", "inspect/src"] {
        sources(&root().join(folder), &mut found);
    }
    sources(&root().join("examples"), &mut found);
    let arguments: BTreeSet<&str> = found.iter().flat_map(|source| arguments_taken(source)).collect();
    let known = ["stop-timeout", "on-hang", "inspect-key", "log", "syslog", "metrics", "backend", "unprotected"];
    known.iter().for_each(|name| assert!(arguments.contains(name), "the sources are read: {arguments:?}"));
    let text = from_root("README.md") + &book();
    let missing: Vec<_> = arguments
        .iter()
        .filter(|name| !text.contains(&format!("`{name}=")) && !text.contains(&format!(" {name}=")))
        .collect();
    assert!(missing.is_empty(), "neither README.md nor the book explains {missing:?}");
}

#[test]
fn exit_codes_are_the_same_everywhere() {
    let (readme, runner, page) =
        (from_root("README.md"), from_root("cargo-unikernel/src/runner.rs"), from_root("book/src/when-it-crashes.md"));
    let table = readme.split_once("## Exit codes").unwrap().1.split("\n## ").next().unwrap();
    let codes: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split(' ').next())
        .filter(|code| code.parse::<u8>().is_ok())
        .collect();
    assert_eq!(codes, ["0", "1", "2", "101", "102", "103", "104", "105", "106"]);
    let (_, help) = runner.split_once("\nExit codes:\n").unwrap();
    let help = help.split('"').next().unwrap().replace('\n', "");
    for code in codes.iter().chain(&["124", "125", "128 + N"]) {
        assert!(help.split(',').any(|part| part.trim_start_matches([' ', ';']).starts_with(code)), "{code} in {help}");
        // What a crash, a stop or the runner ends with.
        if code.len() > 2 && *code != "104" {
            assert!(page.contains(code), "{code} in when-it-crashes.md");
            assert!(readme.contains(code), "{code} in README.md");
        }
    }
}
