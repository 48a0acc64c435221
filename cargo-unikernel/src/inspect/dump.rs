//! `cargo unikernel tcpdump`: the frames of a machine, as a file that Wireshark reads.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, IsTerminal, Read, Write, stdout},
    net::{IpAddr, TcpStream},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use unikernel_inspect::wire::{CAPTURE_HEADER, CaptureCounts};

use super::{Target, chunks::Chunks, client::encoded, records::Records};
use crate::fs::unless_unheard;

/// How often a silent capture looks whether it shall end.
const LOOK: Duration = Duration::from_millis(200);

/// Captures the frames of a machine, until it is interrupted.
#[derive(clap::Args)]
pub struct Tcpdump {
    #[command(flatten)]
    target: Target,
    /// The file to write; without it, the output.
    #[arg(short = 'w', long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Only frames from or to this address.
    #[arg(long)]
    host: Option<IpAddr>,
    /// Only frames from or to this port.
    #[arg(long)]
    port: Option<u16>,
    /// Only frames of this protocol.
    #[arg(long, visible_alias = "proto", value_parser = ["tcp", "udp", "icmp", "arp"])]
    protocol: Option<String>,
    /// Keeps so many bytes of each frame.
    #[arg(short = 's', long, value_name = "BYTES")]
    snap: Option<u32>,
    /// Ends after so many frames.
    #[arg(short = 'c', long)]
    count: Option<u64>,
    /// Ends after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

impl Tcpdump {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        unless_unheard(self.capture())
    }

    fn capture(self) -> Result<u8> {
        if self.write.is_none() && stdout().is_terminal() {
            bail!("a capture is no text; name a file with -w FILE, or add `| tshark -r -`");
        }
        let mut client = self.target.open()?;
        let answer = client.begin("GET", &self.path())?;
        let number = answer.field(CAPTURE_HEADER).and_then(|number| number.parse::<u64>().ok());
        let number = number.context("the answer is not a capture")?;
        // Not before: a file that is there stays what it is when the machine refuses.
        let mut out = self.output()?;
        eprintln!("capturing; interrupt to end");
        let (begun, stream) = client.into_rest();
        let written = self.relay(&begun, &stream, &mut out)?;
        // While the capture's own connection is open, its numbers are known.
        let counts: CaptureCounts = self.target.open()?.get(&format!("/captures/{number}"))?;
        eprintln!(
            "{written} frames written, {} passed the filter, {} dropped by the machine",
            counts.seen, counts.dropped
        );
        Ok(0)
    }

    /// A new file is for this user only: frames hold secrets.
    fn output(&self) -> Result<Box<dyn Write>> {
        let Some(path) = &self.write else { return Ok(Box::new(stdout())) };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        Ok(Box::new(file.with_context(|| format!("{} cannot be written", path.display()))?))
    }

    fn path(&self) -> String {
        let text = |value: &Option<String>| value.clone();
        let fields = [
            ("host", self.host.map(|host| host.to_string())),
            ("port", self.port.map(|port| port.to_string())),
            ("protocol", text(&self.protocol)),
            ("snap", self.snap.map(|snap| snap.to_string())),
        ];
        let fields = fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
        format!("/tcpdump?{}", fields.collect::<Vec<_>>().join("&"))
    }

    /// Writes whole frames until one of the ends comes; how many there were.
    fn relay(&self, begun: &[u8], stream: &TcpStream, out: &mut dyn Write) -> Result<u64> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let deadline = self.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let is_over = || stop.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        stream.set_read_timeout(Some(LOOK))?;
        let (mut chunks, mut records) = (Chunks::default(), Records::default());
        let (mut bytes, mut len, mut written) = (begun.to_vec(), begun.len(), 0);
        let wanted = self.count.unwrap_or(u64::MAX);
        loop {
            let mut body = Vec::new();
            chunks.push(&bytes[..len], &mut body)?;
            records.push(&body);
            let (whole, frames) = records.take(wanted - written)?;
            out.write_all(&whole)?;
            out.flush()?;
            written += frames;
            if written >= wanted || is_over() {
                return Ok(written);
            }
            if chunks.has_ended() {
                bail!("the machine ended the capture after {written} frames");
            }
            bytes.resize(64 * 1024, 0);
            len = read_some(stream, &mut bytes)
                .with_context(|| format!("the machine is gone; {written} frames were written"))?;
        }
    }
}

/// What there is; nothing after a while, or when a signal came.
fn read_some(mut stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    match stream.read(bytes) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(len),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}
