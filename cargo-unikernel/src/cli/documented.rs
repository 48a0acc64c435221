//! Every command line that the book and the READMEs show is one that the command takes.

use super::*;
use clap::error::ErrorKind;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A command line as a page shows it.
struct Shown {
    words: Vec<String>,
    /// After a `$`: somebody is to type it as it stands. The others name a command, and may leave out what it needs.
    is_typed: bool,
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let below = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let templates = below("templates").into_iter().map(|template| template.join("README.md"));
    let of_book = below("book/src").into_iter().filter(|page| page.extension().is_some_and(|end| end == "md"));
    [root.join("README.md")].into_iter().chain(of_book).chain(templates).collect()
}

/// The words after `cargo unikernel` on every line of a text, and whether somebody is to type them.
fn command_lines(text: &str) -> Vec<Shown> {
    // Commands between backticks go over the ends of lines.
    let spans = text
        .replace("```", "\u{0}")
        .split('\u{0}')
        .step_by(2)
        .map(|prose| prose.replace('\n', " "))
        .collect::<String>();
    let inline = spans.split('`').skip(1).step_by(2).map(|span| (span.to_owned(), false)).collect::<Vec<_>>();
    let typed = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
    typed
        .map(|line| (line.to_owned(), true))
        .chain(inline)
        .filter_map(|(line, is_typed)| shown(&line, is_typed))
        .collect()
}

fn shown(line: &str, is_typed: bool) -> Option<Shown> {
    let ours = line.strip_prefix("cargo unikernel ")?;
    // What the shell does with it is not ours, and what is left out is not there to be checked.
    let ours = ours.split([';', '|', '>', '&']).next()?.split(" # ").next()?.replace("\\", "");
    let words: Vec<String> = shlex::split(&ours).unwrap_or_else(|| panic!("a shell would not take `{line}`"));
    let left_out = |word: &String| word.contains('…') || word.contains("...");
    (!words.iter().any(left_out)).then_some(Shown { words, is_typed })
}

/// Why the command does not take it.
fn fault(shown: &Shown) -> Option<String> {
    let words = ["cargo-unikernel"].into_iter().chain(shown.words.iter().map(String::as_str));
    let error = Cli::try_parse_from(words).err()?;
    let names_only = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        // `SECONDS` stands for a number.
        ErrorKind::ValueValidation,
        ErrorKind::InvalidValue,
    ];
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        kind => !shown.is_typed && names_only.contains(&kind),
    };
    (!is_fine).then(|| format!("`cargo unikernel {}`: {error}", shown.words.join(" ")))
}

#[test]
fn what_pages_show_is_taken() {
    let (mut count, mut faults) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let lines = command_lines(&text);
        count += lines.len();
        faults.extend(lines.iter().filter_map(fault).map(|fault| format!("{}: {fault}", page.display())));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 80, "the pages are read: {count} command lines");
}

#[test]
fn what_is_not_taken_is_noticed() {
    let faults = |text: &str| command_lines(text).iter().filter_map(fault).count();
    assert_eq!(faults("```text\n$ cargo unikernel run --no-such-option\n```"), 1);
    assert_eq!(faults("```text\n$ cargo unikernel symbolise\n```"), 1);
    assert_eq!(faults("say `cargo unikernel\nrun --no-such-option` or not"), 1);
    assert_eq!(faults("```text\n$ cargo unikernel instance stop\n```"), 1);
    assert_eq!(faults("`cargo unikernel instance stop` stops one, `cargo unikernel run --timeout SECONDS` itself"), 0);
    assert_eq!(faults("```text\n$ cargo unikernel log-level a:1 my_app=off | cat\n$ cargo run\n```"), 0);
}
