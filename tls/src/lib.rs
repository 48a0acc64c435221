//! TLS 1.3 and 1.2 over any byte stream, server and client, through rustls: connections that nobody can read or change
//! on the way, and certainty about who is at the other end.
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use embedded_io_async::{Read, Write};
//! use unikernel_tls::{Identity, Roots, TlsAcceptor, TlsConnector};
//!
#![doc = include_str!("pair.md")]
//! let acceptor = TlsAcceptor::new(Identity::from_pem(pem)?)?;
//! let mut listener = server.listen(5432)?;
//! unikernel_rt::spawn(async move {
//!     let mut tls = acceptor.accept(listener.accept().await).await?;
//!     tls.write_all(b"hello").await?;
//!     tls.close().await
//! });
//!
//! let connector = TlsConnector::new(Roots::from_pem(ca)?)?;
//! let mut tls = connector.connect("db.example.org", client.connect("10.0.0.2:5432".parse()?).await?).await?;
//! let mut greeting = [0; 5];
//! tls.read_exact(&mut greeting).await?;
//! assert_eq!(&greeting, b"hello");
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! | for | see |
//! |---|---|
//! | a server; who must show a certificate; new certificates without a restart | [`TlsAcceptor`], [`ClientCertificates`] |
//! | a client | [`TlsConnector`] |
//! | the connection, an `embedded_io_async` stream again | [`TlsStream`], and [`Info`] for what was settled |
//! | certificates and keys, whom to trust, from PEM | [`Identity`], [`Roots`] |
//! | what went wrong | [`TlsError`], [`ConfigError`] |
//! | every bound, with its reason | [`limits`] |
//!
//! For HTTPS see `serve_tls` and `client::Builder::tls` of unikernel-http, with its feature `tls`.
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
