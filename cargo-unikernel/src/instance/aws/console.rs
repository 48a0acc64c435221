//! What a machine says: the last 64 KiB of its serial port, which is all that EC2 keeps.

use std::{
    cell::RefCell,
    io::{self, Write},
    path::Path,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aws_sdk_ec2::{
    Client,
    error::ProvideErrorMetadata,
    types::{Instance, InstanceStateName as Ec2State},
};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    client::failed,
    found::{self, id_of, state_of},
    tags,
};
use crate::{
    console::{Console, builds},
    image,
    instance::{Name, provider::Lines},
};

/// Between two questions for more: EC2 tells of nothing by itself, and bounds how often an account may ask.
const FOLLOW: Duration = Duration::from_secs(5);

/// Writes what was said, and what comes.
pub async fn show(ec2: &Client, name: &Name, lines: &Lines, out: &mut dyn Write) -> Result<()> {
    ensure!(
        lines.since.is_none() && !lines.timestamps,
        "EC2 keeps no times of lines; leave away `--since` and `--timestamps`, or take `--tail`"
    );
    let instance = found::named(ec2, name).await?;
    let id = id_of(&instance)?;
    let mut decoder = Decoder::of(&instance);
    let mut said = output(ec2, id).await?;
    let text = decoder.take(&said)?;
    let all: Vec<&str> = text.lines().collect();
    let first = all.len().saturating_sub(lines.tail.unwrap_or(usize::MAX));
    all[first..].iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()?;
    let mut runs = state_of(&instance) != Some(&Ec2State::Stopped);
    while lines.follow && runs {
        tokio::time::sleep(FOLLOW).await;
        // Before its last words are asked for.
        let instance = found::until(ec2, id, |_| true).await?;
        runs = !found::is_gone(&instance) && state_of(&instance) != Some(&Ec2State::Stopped);
        let now = output(ec2, id).await?;
        let (is_whole, news) = news(&said, &now);
        if !is_whole {
            writeln!(out, "unikernel: here it was started again, or lines are missing: they came too fast")?;
        }
        out.write_all(decoder.take(news)?.as_bytes())?;
        out.flush()?;
        said = now;
    }
    out.write_all(decoder.finish()?.as_bytes())?;
    Ok(out.flush()?)
}

/// The bytes that EC2 has now; older kinds of machines have those of some minutes ago.
async fn output(ec2: &Client, id: &str) -> Result<Vec<u8>> {
    let ask = |latest: bool| ec2.get_console_output().instance_id(id).latest(latest).send();
    let answer = match ask(true).await {
        Err(error) if error.code() == Some("UnsupportedOperation") => ask(false).await,
        answer => answer,
    };
    let text = answer.map_err(failed("GetConsoleOutput"))?.output.unwrap_or_default();
    let text: String = text.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(text).context("GetConsoleOutput is no base64")
}

/// What is new, and whether nothing is missing before it: the two share what is old in the one and at the beginning of the other.
fn news<'a>(said: &[u8], now: &'a [u8]) -> (bool, &'a [u8]) {
    let shared = (0..said.len()).map(|start| &said[start..]).find(|end| now.starts_with(end));
    match shared {
        Some(shared) => (true, &now[shared.len()..]),
        None => (said.is_empty(), now),
    }
}

/// Makes lines of bytes, with the image of the machine if its build is here.
struct Decoder {
    console: Console<Lent>,
    lines: Lent,
}

impl Decoder {
    fn of(instance: &Instance) -> Decoder {
        let elf = match tags::value(instance.tags(), tags::BUILD) {
            Some(build) => builds::of_build(build).and_then(|path| Ok((image::read(&path)?, path))),
            None => Ok(Default::default()),
        };
        let (elf, path) = elf.unwrap_or_else(|_| {
            eprintln!("unikernel: its build is not under cargo's target folder here, so log lines cannot be decoded");
            Default::default()
        });
        Decoder::with(&path, &elf)
    }

    fn with(path: &Path, elf: &[u8]) -> Decoder {
        let lines = Lent::default();
        Decoder { console: Console::new(path, elf, None, lines.clone()), lines }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<String> {
        self.console.write(bytes)?;
        Ok(self.lines.take())
    }

    fn finish(&mut self) -> Result<String> {
        self.console.finish()?;
        Ok(self.lines.take())
    }
}

/// Lines that are taken out again.
#[derive(Clone, Default)]
struct Lent(Rc<RefCell<Vec<u8>>>);

impl Lent {
    fn take(&self) -> String {
        String::from_utf8_lossy(&self.0.take()).into_owned()
    }
}

impl Write for Lent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_shown() {
        let check = |said: &str, now: &str, expected: (bool, &str)| {
            let (is_whole, news) = news(said.as_bytes(), now.as_bytes());
            assert_eq!((is_whole, std::str::from_utf8(news).unwrap()), expected, "{said:?}, {now:?}");
        };
        check("", "", (true, ""));
        check("", "a\n", (true, "a\n"));
        check("a\nb\n", "a\nb\n", (true, ""));
        check("a\nb\n", "a\nb\nc\n", (true, "c\n"));
        // What is old falls out at the beginning.
        check("a\nb\nc\n", "b\nc\nd\ne\n", (true, "d\ne\n"));
        check("a\nb", "x\ny\n", (false, "x\ny\n"));
        check("a\nb\n", "", (false, ""));
    }

    #[test]
    fn pieces_become_lines() {
        let mut decoder = Decoder::with(Path::new(""), b"");
        assert_eq!(decoder.take(b"one\r\ntw").unwrap(), "one\n");
        assert_eq!(decoder.take(b"o\nthree").unwrap(), "two\n");
        assert_eq!(decoder.finish().unwrap(), "three\n");
    }
}
