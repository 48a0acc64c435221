//! TLS 1.3 and 1.2 over any byte stream, server and client, through rustls.
//!
//! Start with [`TlsAcceptor`] (server) or [`TlsConnector`] (client); both make a [`TlsStream`], which is an
//! `embedded_io_async` stream again. [`Identity`] and [`Roots`] are read from PEM; [`TlsError`] says what went wrong.
//!
//! rustls makes the handshake (`handshake`); after that records are encrypted and decrypted here (`record`, `sender`,
//! `receiver`), in place and without a copy more than the byte stream asks for. `crypto` is the provider behind both.
//!
//! # What is there
//!
//! X25519, P-256 and P-384; AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; ECDSA, Ed25519 and RSA certificates; several
//! certificates by SNI, ALPN, client certificates, resumption by tickets or by a cache, new keys while a connection
//! lives, certificates replaced without a restart.
//!
//! # What is missing
//!
//! Revocation lists and OCSP: no, use short-lived certificates · early data (0-RTT): no, it can be replayed ·
//! post-quantum key exchange: not yet · certificates with P-521: no.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod acceptor;
mod connector;
mod identity;
mod stream;

mod error;
mod info;
pub mod limits;

mod alert;
mod clock;
mod crypto;
mod handshake;
mod link;
mod receiver;
mod record;
mod sender;
mod sessions;
mod tickets;

pub use acceptor::{ClientCertificates, Resumption, TlsAcceptor, TlsAcceptorBuilder};
pub use connector::{TlsConnector, TlsConnectorBuilder};
pub use error::{ConfigError, Misuse, Rejection, TlsError};
pub use identity::{Identity, Roots};
pub use info::{Info, TlsVersion};
pub use stream::{TlsReadHalf, TlsStream, TlsWriteHalf};
