//! Thousands of connections that are open and idle.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Result;
use crate::namespace::{CLIENTS, client_address};

/// Open connections; dropping them closes them.
pub struct Idle {
    streams: Vec<Option<TcpStream>>,
}

/// Connections that are being opened at the same time: a burst that any server's backlog holds.
const OPENING_MAX: usize = 64;
/// An attempt to open one may take this long: TCP repeats a lost first packet after 1, 3, 7 s.
const PATIENCE: Duration = Duration::from_secs(10);

impl Idle {
    /// Opens so many connections from several addresses, a bounded number at a time. What the
    /// guest does not accept is missing from [`still_open`](Self::still_open).
    pub fn open(server: SocketAddr, count: usize) -> Result<Idle> {
        allow_files(count as u64 + 500)?;
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(OPENING_MAX);
        let mut streams: Vec<Option<TcpStream>> = Vec::with_capacity(count);
        let mut opening = 0;
        let mut last_progress = Instant::now();
        while (opening > 0 || streams.len() < count) && last_progress.elapsed() < PATIENCE {
            while opening < OPENING_MAX && streams.len() < count {
                let mut stream = connect(server, streams.len())?;
                let token = Token(streams.len());
                poll.registry().register(&mut stream, token, Interest::WRITABLE)?;
                streams.push(Some(stream));
                opening += 1;
            }
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let slot = &mut streams[event.token().0];
                let Some(mut stream) = slot.take() else { continue };
                // Each is looked at once: whatever happens later is seen by `still_open`.
                poll.registry().deregister(&mut stream)?;
                *slot = stream.peer_addr().is_ok().then_some(stream);
                opening -= 1;
                last_progress = Instant::now();
            }
        }
        Ok(Idle { streams })
    }

    /// How many connections are established and have not been closed by the guest.
    pub fn still_open(&self) -> usize {
        self.streams.iter().flatten().filter(|stream| is_open(stream)).count()
    }
}

/// An open connection has no end and no error to read, and a peer.
fn is_open(stream: &TcpStream) -> bool {
    let nothing = matches!(
        stream.peek(&mut [0]),
        Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock
    );
    nothing && stream.peer_addr().is_ok()
}

/// Begins to connect, from one address after the other.
fn connect(server: SocketAddr, index: usize) -> Result<TcpStream> {
    let client = client_address((index % usize::from(CLIENTS)) as u8);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A reset at the end: the guest must not spend the next measurement on our goodbyes.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(client, 0)).into())?;
    match socket.connect(&server.into()) {
        Err(cause) if cause.raw_os_error() != Some(EINPROGRESS) => Err(cause.into()),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// What Linux answers to a `connect` that has begun.
const EINPROGRESS: i32 = 115;

/// Raises this process's limit of open files.
fn allow_files(count: u64) -> Result {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum.map(|maximum| maximum.max(count));
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?;
    }
    Ok(())
}
