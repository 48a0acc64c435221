//! The client's side of TLS: rustls on a socket that does not block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream as BlockingStream};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use crate::namespace::GUEST;
use crate::{Result, error};

/// The port both sides serve TLS on.
pub const TLS_PORT: u16 = 443;
/// What both sides identify themselves with.
const CERTIFICATE: &[u8] = include_bytes!("../../bench-site/tls/cert.pem");
/// Sessions to remember, more than there are connections at a time.
const SESSIONS_MAX: usize = 64;
/// A server that is there accepts a connection within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// How connections are encrypted: TLS 1.3 always.
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// The only suite that is offered.
    pub suite: Suite,
    /// Whether connections resume the session of an earlier one where the server offers that.
    pub resumes: bool,
}

/// A cipher suite.
#[derive(Clone, Copy, Debug)]
pub enum Suite {
    /// `TLS_AES_128_GCM_SHA256`
    Aes128,
    /// `TLS_CHACHA20_POLY1305_SHA256`
    ChaCha20,
}

/// What the connections of one load share: the certificate to trust, and the sessions to resume.
#[derive(Clone)]
pub struct Security(Arc<ClientConfig>);

impl Security {
    /// Trusts the one certificate that both sides have.
    pub fn new(tls: Tls) -> Result<Security> {
        let suite = match tls.suite {
            Suite::Aes128 => ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            Suite::ChaCha20 => ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        };
        let provider = CryptoProvider {
            cipher_suites: vec![suite],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CERTIFICATE)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(provider));
        let config = config.with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption =
            if tls.resumes { Resumption::in_memory_sessions(SESSIONS_MAX) } else { Resumption::disabled() };
        Ok(Security(Arc::new(config)))
    }
}

/// A connection, encrypted or not.
pub enum Transport {
    /// Bytes as they are.
    Plain(TcpStream),
    /// TLS.
    Encrypted(Box<Session>),
}

/// A TLS connection.
pub struct Session {
    stream: TcpStream,
    tls: ClientConnection,
}

impl Transport {
    /// Takes a connection that may still be opening.
    pub fn new(stream: TcpStream, security: Option<&Security>) -> io::Result<Transport> {
        let Some(Security(config)) = security else { return Ok(Transport::Plain(stream)) };
        let name = ServerName::from(IpAddr::V4(GUEST));
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Transport::Encrypted(Box::new(Session { stream, tls })))
    }

    /// Takes what has come.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(buffer),
            Transport::Encrypted(session) => session.read(buffer),
        }
    }

    /// Sends, or keeps until the handshake is over.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.write(bytes),
            Transport::Encrypted(session) => {
                let len = session.tls.writer().write(bytes)?;
                session.push()?;
                Ok(len)
            }
        }
    }

    /// Whether its handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Encrypted(session) => session.tls.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.push()?;
            match self.tls.reader().read(buffer) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.tls.read_tls(&mut self.stream)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Sends what the socket takes; the rest goes with the next event.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

/// Fails, in words for the report, where nobody serves TLS.
pub fn check(address: SocketAddr) -> Result {
    match BlockingStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Ok(()),
        Err(cause) => Err(error(format!("no answer on port {}, so TLS was not measured ({cause})", address.port()))),
    }
}
