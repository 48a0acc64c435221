//! The handshake: rustls decides, this module carries bytes.
//!
//! rustls sees one record at a time, so that it is done before it has looked at anything that follows the handshake:
//! that is for [`crate::receiver`].

use crate::{
    error::{Misuse, TlsError},
    info::Info,
    limits::{HANDSHAKE_LEN_MAX, RECORD_LEN_MAX, RECORD_OVERHEAD_MAX},
    link::{Kernel, Link},
    receiver::Receiver,
    record::{HEADER_LEN, Opener, Sealer, Version},
    sender::Sender,
};
use alloc::{rc::Rc, vec::Vec};
use core::ops::DerefMut;
use embedded_io_async::{Read, Write};
use rustls::{
    ExtractedSecrets, ProtocolVersion,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus},
};

/// Bytes read at once: a client's first message, or most of a server's.
const READ_LEN: usize = 4 * 1024;

/// Both kinds of connection.
pub(crate) trait Connection: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> + Sized {
    type Data;

    const IS_SERVER: bool;

    /// `process_tls_records`, which rustls has for both kinds but not for all.
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), rustls::Error>;
}

impl Connection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    const IS_SERVER: bool = true;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), rustls::Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, kernel)| (secrets, Kernel::Server(kernel)))
    }
}

impl Connection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    const IS_SERVER: bool = false;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn into_kernel(self) -> Result<(ExtractedSecrets, Kernel), rustls::Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, kernel)| (secrets, Kernel::Client(kernel)))
    }
}

/// A handshake under way.
pub(crate) struct Handshake<C> {
    pub(crate) connection: C,
    /// `incoming[..seen]` was shown to rustls, which has not done with it; the rest waits.
    incoming: Vec<u8>,
    seen: usize,
    outgoing: Vec<u8>,
}

/// What [`Handshake::advance`] wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Read,
    /// The outgoing bytes written; more to do after that.
    Write,
    /// Nothing: it is done.
    Nothing,
}

impl<C: Connection> Handshake<C> {
    pub(crate) fn new(connection: C) -> Handshake<C> {
        Handshake { connection, incoming: Vec::new(), seen: 0, outgoing: Vec::new() }
    }

    /// Runs it over `stream`. On an error the peer has been told, as far as the stream took it at once.
    pub(crate) async fn run<S: Read + Write>(
        mut self,
        stream: &mut S,
        mut look: impl FnMut(&C),
    ) -> Result<(Sender, Receiver, Info), TlsError> {
        loop {
            let wants = self.advance();
            look(&self.connection);
            match wants {
                Ok(Wants::Nothing) => return self.finish(),
                Ok(Wants::Write) => self.write(stream).await?,
                Ok(Wants::Read) => self.read(stream).await?,
                Err(error) => {
                    // The alert is a courtesy: its own failure would hide the reason.
                    let _ = self.write(stream).await;
                    return Err(error);
                }
            }
        }
    }

    /// Lets rustls work on what is there.
    fn advance(&mut self) -> Result<Wants, TlsError> {
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process(&mut self.incoming[..self.seen]);
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |space| data.encode(space));
                    Step::Again
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Step::Again
                }
                Ok(ConnectionState::BlockedHandshake) => Step::More,
                Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
                // Data or the end, before the handshake is over; early data is not offered.
                Ok(_) => Step::Fail(TlsError::Misbehaved(Misuse::UnexpectedMessage)),
                Err(error) => Step::Fail(error.into()),
            };
            self.discard(discard);
            match step {
                Step::Again => {}
                Step::Done if self.connection.is_handshaking() => {}
                Step::Done if !self.outgoing.is_empty() && !self.can_wait() => return Ok(Wants::Write),
                Step::Done if self.seen == 0 => return Ok(Wants::Nothing),
                Step::Done => return Err(TlsError::Misbehaved(Misuse::UnexpectedMessage)),
                Step::More => {
                    if !self.outgoing.is_empty() {
                        return Ok(Wants::Write);
                    }
                    if !self.show_record()? {
                        return Ok(Wants::Read);
                    }
                }
                Step::Fail(error) => {
                    self.encode_alerts();
                    return Err(error);
                }
            }
        }
    }

    /// Whether the peer does not wait for what is left to send: tickets.
    fn can_wait(&self) -> bool {
        C::IS_SERVER && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// After an error: what rustls wants to tell the peer. Asked for more than it has, it would read on.
    fn encode_alerts(&mut self) {
        while self.connection.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process(&mut self.incoming[..self.seen]).state
        {
            encode(&mut self.outgoing, |space| data.encode(space));
        }
    }

    fn discard(&mut self, len: usize) {
        self.incoming.drain(..len);
        self.seen -= len;
    }

    /// Shows rustls one more record; `false` when it is not complete.
    fn show_record(&mut self) -> Result<bool, TlsError> {
        let [_, _, _, high, low, ..] = self.incoming[self.seen..] else { return Ok(false) };
        let len = HEADER_LEN + usize::from(high) * 256 + usize::from(low);
        if len > RECORD_LEN_MAX + RECORD_OVERHEAD_MAX || self.seen + len > HANDSHAKE_LEN_MAX {
            return Err(TlsError::Misbehaved(Misuse::MessageTooLong));
        }
        let is_complete = self.incoming.len() - self.seen >= len;
        if is_complete {
            self.seen += len;
        }
        Ok(is_complete)
    }

    /// Cancel safe, as far as `stream` is.
    async fn read<S: Read>(&mut self, stream: &mut S) -> Result<(), TlsError> {
        let start = self.incoming.len();
        self.incoming.resize(start + READ_LEN, 0);
        let read = stream.read(&mut self.incoming[start..]).await;
        self.incoming.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(TlsError::Truncated),
            Ok(_) => Ok(()),
            Err(error) => Err(TlsError::stream(error)),
        }
    }

    async fn write<S: Write>(&mut self, stream: &mut S) -> Result<(), TlsError> {
        stream.write_all(&self.outgoing).await.map_err(TlsError::stream)?;
        self.outgoing.clear();
        stream.flush().await.map_err(TlsError::stream)
    }

    /// The two directions after the handshake. What is left to send goes with the first data.
    fn finish(self) -> Result<(Sender, Receiver, Info), TlsError> {
        let info = Info::new(&self.connection);
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => Version::Tls12,
        };
        let (secrets, kernel) = self.connection.into_kernel()?;
        let link: Rc<Link> = Link::new(kernel);
        let sender = Sender::new(Sealer::from_secrets(&secrets.tx, version)?, link.clone(), self.outgoing);
        let receiver = Receiver::new(Opener::from_secrets(&secrets.rx, version)?, link, self.incoming);
        Ok((sender, receiver, info))
    }
}

enum Step {
    Again,
    More,
    Done,
    Fail(TlsError),
}

/// Appends what `write` has; rustls says how much room that takes.
fn encode(outgoing: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = outgoing.len();
    if let Err(EncodeError::InsufficientSize(needs)) = write(&mut []) {
        outgoing.resize(start + needs.required_size, 0);
        let written = write(&mut outgoing[start..]).unwrap_or(0);
        outgoing.truncate(start + written);
    }
}
