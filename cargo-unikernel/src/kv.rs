//! `cargo unikernel kv`: looks at the key-value store on an image. Never changes it.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::Serialize;
use unikernel_blockfs::{
    Disk,
    kv::{self, KvStore, Pair},
};

use crate::fs::{Access, Image, on_disk, print, unless_unheard};

/// What is done with a store.
#[derive(Subcommand)]
pub enum KvCommand {
    /// Lists the keys.
    Ls(Ls),
    /// Writes the value of a key to the output as it is.
    Get(Get),
    /// Prints every key and value, a line of JSON each.
    Dump(Dump),
    /// Reads everything; exit code 1 when something is wrong.
    Check(Check),
}

/// Which keys are listed.
#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    image: Image,
    #[command(flatten)]
    keys: Keys,
    /// Shows the length of each value, in bytes.
    #[arg(short)]
    long: bool,
}

/// Which value is printed.
#[derive(clap::Args)]
pub struct Get {
    #[command(flatten)]
    image: Image,
    /// The key: text with the escapes of Rust's byte strings, such as `user/\x00\xff`.
    key: String,
    /// The key is in hexadecimal digits.
    #[arg(long)]
    hex: bool,
}

/// What is dumped.
#[derive(clap::Args)]
pub struct Dump {
    #[command(flatten)]
    image: Image,
    #[command(flatten)]
    keys: Keys,
}

/// What is checked.
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    image: Image,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Which keys, and how they are written.
#[derive(clap::Args)]
struct Keys {
    /// Only keys that begin with this.
    #[arg(long, value_name = "KEY", default_value = "")]
    prefix: String,
    /// Shows and reads everything in hexadecimal digits, not as text with escapes.
    #[arg(long)]
    hex: bool,
}

impl KvCommand {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        unless_unheard(match self {
            KvCommand::Ls(ls) => ls.exec(),
            KvCommand::Get(get) => get.exec(),
            KvCommand::Dump(dump) => dump.exec(),
            KvCommand::Check(check) => check.exec(),
        })
    }
}

impl Ls {
    fn exec(self) -> Result<u8> {
        let (hex, long) = (self.keys.hex, self.long);
        each_pair(&self.image, &self.keys, move |out, (key, value)| {
            if long {
                write!(out, "{:>9} ", value.len())?;
            }
            Ok(writeln!(out, "{}", shown(&key, hex))?)
        })
    }
}

#[derive(Serialize)]
struct Line {
    key: String,
    value: String,
}

impl Dump {
    fn exec(self) -> Result<u8> {
        let hex = self.keys.hex;
        each_pair(&self.image, &self.keys, move |out, (key, value)| {
            serde_json::to_writer(&mut *out, &Line { key: shown(&key, hex), value: shown(&value, hex) })?;
            Ok(writeln!(out)?)
        })
    }
}

type Out = BufWriter<io::StdoutLock<'static>>;

fn each_pair(image: &Image, keys: &Keys, mut show: impl FnMut(&mut Out, Pair) -> Result<()> + 'static) -> Result<u8> {
    let prefix = bytes_of(&keys.prefix, keys.hex)?;
    on_disk(image, Access::Read, async move |disk| {
        let mut pairs = open(disk).await?.snapshot().prefix(&prefix);
        let mut out = BufWriter::new(io::stdout().lock());
        while let Some(pair) = pairs.next().await? {
            show(&mut out, pair)?;
        }
        out.flush()?;
        Ok(0)
    })
}

async fn open(disk: Disk) -> Result<KvStore> {
    Ok(KvStore::open_read_only(disk).await?)
}

impl Get {
    fn exec(self) -> Result<u8> {
        let key = bytes_of(&self.key, self.hex)?;
        on_disk(&self.image, Access::Read, async move |disk| {
            let value = open(disk).await?.get(&key).await?;
            let value = value.with_context(|| format!("there is no key `{}`; `kv ls` lists them", self.key))?;
            let mut out = io::stdout().lock();
            out.write_all(&value)?;
            out.flush()?;
            Ok(0)
        })
    }
}

#[derive(Serialize)]
struct Findings {
    entries: u64,
    log_keys: u64,
    tree_bytes: u64,
    value_bytes: u64,
    total_bytes: u64,
    problem_count: u64,
    problems: Vec<String>,
}

impl Check {
    fn exec(self) -> Result<u8> {
        let findings = on_disk(&self.image, Access::Read, async |disk| {
            Ok(match kv::check(disk).await {
                Ok(report) => Findings::of(report),
                Err(error) => Findings::unread(&error),
            })
        })?;
        print(&if self.json { serde_json::to_string_pretty(&findings)? } else { findings.text() })?;
        Ok((findings.problem_count > 0).into())
    }
}

impl Findings {
    fn of(report: kv::Report) -> Findings {
        Findings {
            entries: report.entries,
            log_keys: report.log_keys,
            tree_bytes: report.tree_len,
            value_bytes: report.value_len,
            total_bytes: report.total,
            problem_count: report.fault_count,
            problems: report.faults,
        }
    }

    fn unread(error: &unikernel_blockfs::Error) -> Findings {
        let problems = vec![error.to_string()];
        let (entries, log_keys, tree_bytes, value_bytes, total_bytes) = (0, 0, 0, 0, 0);
        Findings { entries, log_keys, tree_bytes, value_bytes, total_bytes, problem_count: 1, problems }
    }

    fn text(&self) -> String {
        let mut lines = self.problems.clone();
        let more = self.problem_count - self.problems.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let Findings { entries, log_keys, tree_bytes, value_bytes, total_bytes, .. } = self;
        if *total_bytes > 0 {
            lines.push(format!(
                "{}: {entries} entries in the tree and {log_keys} keys in the log; {tree_bytes} bytes of tree and \
                 {value_bytes} of long values, of {total_bytes}",
                if self.problem_count == 0 { "ok" } else { "damaged" }
            ));
        }
        lines.join("\n")
    }
}

/// As in a Rust byte string, or in hexadecimal digits.
fn shown(bytes: &[u8], hex: bool) -> String {
    match hex {
        true => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        false => bytes.escape_ascii().to_string(),
    }
}

/// Reads what [`shown`] writes; text beyond ASCII stands for its bytes.
fn bytes_of(text: &str, hex: bool) -> Result<Vec<u8>> {
    if hex {
        let pairs = text.as_bytes().chunks(2).map(hex_byte);
        return pairs
            .collect::<Option<_>>()
            .with_context(|| format!("`{text}` has other than pairs of hexadecimal digits"));
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = if *first == b'\\' { unescape(text, after)? } else { (*first, after) };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

/// The byte after a backslash, and what follows it.
fn unescape<'a>(text: &str, rest: &'a [u8]) -> Result<(u8, &'a [u8])> {
    Ok(match rest {
        [b'n', rest @ ..] => (b'\n', rest),
        [b'r', rest @ ..] => (b'\r', rest),
        [b't', rest @ ..] => (b'\t', rest),
        [b'0', rest @ ..] => (0, rest),
        [byte @ (b'\\' | b'\'' | b'"'), rest @ ..] => (*byte, rest),
        [b'x', high, low, rest @ ..] if let Some(byte) = hex_byte(&[*high, *low]) => (byte, rest),
        _ => bail!(
            "`{text}` has an escape that is none; write \\n, \\r, \\t, \\0, \\\\ or \\x and two hexadecimal digits"
        ),
    })
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = *pair else { return None };
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for hex in [false, true] {
            assert_eq!(bytes_of(&shown(&all, hex), hex).unwrap(), all);
        }
    }

    #[test]
    fn keys_are_text_with_escapes() {
        let check = |text: &str, hex, expected: Option<&[u8]>| {
            assert_eq!(bytes_of(text, hex).ok().as_deref(), expected, "{text}");
        };
        check("user/ü", false, Some("user/ü".as_bytes()));
        check(r"a\x00\xFF\n\\", false, Some(b"a\x00\xff\n\\"));
        check("00fF", true, Some(b"\x00\xff"));
        check("", true, Some(b""));
        check(r"a\", false, None);
        check(r"\x0", false, None);
        check(r"\q", false, None);
        check("0", true, None);
        check("zz", true, None);
    }
}
