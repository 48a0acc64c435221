//! Reads the log of an instance: what is there, then what comes.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result};

use super::{
    control::{self, Request},
    log::{FILE, OLD_FILE, STAMP_LEN, stamp},
    record::now_ms,
    store::Folder,
};
use crate::{console::harmless, instance::provider::Lines};

/// Writes the lines that are wanted.
pub fn show(folder: &Folder, lines: &Lines, out: &mut dyn Write) -> Result<()> {
    // Before the log is read, so that nothing falls between.
    let mut news = match lines.follow && folder.is_supervised() {
        true => Some(control::ask(folder, &Request::Follow)?),
        false => None,
    };
    let mut reader = Reader::new(folder);
    let kept = reader.history()?;
    let since = lines.since.map(|since| stamp(now_ms().saturating_sub(since.as_millis() as u64)));
    let is_wanted =
        |line: &&str| since.as_deref().is_none_or(|since| line.get(..STAMP_LEN).is_none_or(|at| at >= since));
    let wanted: Vec<&str> = kept.lines().filter(is_wanted).collect();
    let first = wanted.len().saturating_sub(lines.tail.unwrap_or(usize::MAX));
    wanted[first..].iter().try_for_each(|line| print(line, lines.timestamps, out))?;
    out.flush()?;
    while let Some(news) = &mut news {
        let mut bytes = [0; 4096];
        let is_over = matches!(news.read(&mut bytes), Ok(0) | Err(_));
        reader.more()?.lines().try_for_each(|line| print(line, lines.timestamps, out))?;
        out.flush()?;
        if is_over {
            break;
        }
    }
    Ok(())
}

fn print(line: &str, with_time: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown = if with_time { line } else { line.get(STAMP_LEN + 1..).unwrap_or(line) };
    writeln!(out, "{}", harmless(shown))
}

/// The last lines, each on a line of its own; for a message.
pub fn last_lines(folder: &Folder, count: usize) -> String {
    let kept = Reader::new(folder).history().unwrap_or_default();
    let lines: Vec<&str> = kept.lines().collect();
    let last = lines[lines.len().saturating_sub(count)..].iter();
    last.map(|line| format!("\n  {}", harmless(line.get(STAMP_LEN + 1..).unwrap_or(line)))).collect()
}

/// Follows the two files while the writer changes from one to the next.
struct Reader<'a> {
    folder: &'a Folder,
    /// The one that is written to.
    file: Option<File>,
    /// A line whose end is not there yet.
    half: Vec<u8>,
}

impl Reader<'_> {
    fn new(folder: &Folder) -> Reader<'_> {
        Reader { folder, file: None, half: Vec::new() }
    }

    /// All that is kept.
    fn history(&mut self) -> Result<String> {
        // The newer one first: when it becomes the older one meanwhile, it is still the one that was opened.
        self.file = open(&self.folder.file(FILE))?;
        let mut bytes = Vec::new();
        if let Some(mut old) = open(&self.folder.file(OLD_FILE))?
            && !self.file.as_ref().is_some_and(|file| is_same(file, &old))
        {
            old.read_to_end(&mut bytes).context("cannot read the log")?;
        }
        self.half = bytes;
        self.more()
    }

    /// What has been written since.
    fn more(&mut self) -> Result<String> {
        loop {
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut self.half).context("cannot read the log")?;
            }
            let newest = open(&self.folder.file(FILE))?;
            match (&mut self.file, newest) {
                (_, None) => break,
                (Some(file), Some(newest)) if is_same(file, &newest) => break,
                (None, newest) => self.file = newest,
                (Some(file), newest) => {
                    // What was written to it before the change.
                    file.read_to_end(&mut self.half).context("cannot read the log")?;
                    if !open(&self.folder.file(OLD_FILE))?.is_some_and(|old| is_same(file, &old)) {
                        self.half.extend(
                            format!("{} unikernel: lines are missing here: they came too fast\n", stamp(now_ms()))
                                .bytes(),
                        );
                    }
                    self.file = newest;
                }
            }
        }
        let end = self.half.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.half.split_off(end);
        let whole = std::mem::replace(&mut self.half, rest);
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        // None yet, or it is being replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let id = |facts: fs::Metadata| (facts.dev(), facts.ino());
    one.metadata().ok().map(id) == other.metadata().ok().map(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn folder(old: &str, new: &str) -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("web");
        fs::create_dir(&path).unwrap();
        let lines = |text: &str| text.split_whitespace().map(line).collect::<String>();
        fs::write(path.join(OLD_FILE), lines(old)).unwrap();
        fs::write(path.join(FILE), lines(new)).unwrap();
        (temporary, Folder::at(path).unwrap())
    }

    /// `a@5` is the line `a` of five seconds ago.
    fn line(word: &str) -> String {
        let (text, ago) = word.split_once('@').unwrap_or((word, "0"));
        format!("{} {text}\n", stamp(now_ms() - ago.parse::<u64>().unwrap() * 1000))
    }

    fn check(lines: Lines, expected: &str) {
        let (_temporary, folder) = folder("a@900 b@600", "c@300 d@5");
        let mut out = Vec::new();
        show(&folder, &lines, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn all_or_the_last_or_those_of_late() {
        check(Lines::default(), "a b c d");
        check(Lines { tail: Some(3), ..Lines::default() }, "b c d");
        check(Lines { tail: Some(0), ..Lines::default() }, "");
        check(Lines { since: Some(Duration::from_secs(400)), ..Lines::default() }, "c d");
        check(Lines { since: Some(Duration::from_secs(2)), ..Lines::default() }, "");
        // Nobody writes, so there is nothing to follow.
        check(Lines { follow: true, tail: Some(1), ..Lines::default() }, "d");
    }

    #[test]
    fn times_are_shown_on_demand() {
        let (_temporary, folder) = folder("", "x");
        let mut out = Vec::new();
        show(&folder, &Lines { timestamps: true, ..Lines::default() }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.len() == STAMP_LEN + 3 && text.ends_with("Z x\n"), "{text}");
    }

    #[test]
    fn a_change_of_files_loses_nothing() {
        let (_temporary, folder) = folder("a", "b");
        let bare =
            |text: String| text.lines().map(|line| line[STAMP_LEN + 1..].to_owned()).collect::<Vec<_>>().join(" ");
        let mut reader = Reader::new(&folder);
        assert_eq!(bare(reader.history().unwrap()), "a b");
        let add = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(folder.file(FILE)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let change = || fs::rename(folder.file(FILE), folder.file(OLD_FILE)).unwrap();
        add(&line("c"));
        change();
        assert_eq!(bare(reader.more().unwrap()), "c");
        let half = line("d");
        add(&half[..10]);
        assert_eq!(bare(reader.more().unwrap()), "");
        add(&half[10..]);
        assert_eq!(bare(reader.more().unwrap()), "d");
        (0..2).for_each(|_| {
            change();
            add(&line("e"));
        });
        assert_eq!(bare(reader.more().unwrap()), "unikernel: lines are missing here: they came too fast e");
    }
}
