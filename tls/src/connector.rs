//! The client's side: [`TlsConnector`].

use crate::{
    clock, crypto,
    error::{ConfigError, TlsError},
    handshake::Handshake,
    identity::{Identity, Roots},
    limits::HANDSHAKE_TIMEOUT,
    sessions::ClientSessions,
    stream::TlsStream,
};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;
use embedded_io_async::{Read, Write};
use rustls::{
    ClientConfig,
    client::{Resumption, UnbufferedClientConnection},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use unikernel_rt::time::{Duration, timeout};

/// Makes TLS connections over byte streams. Clones share the sessions that later connections resume.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_tls::{Roots, TlsConnector};
///
#[doc = include_str!("pair.md")]
/// # let acceptor = unikernel_tls::TlsAcceptor::new(unikernel_tls::Identity::from_pem(pem)?)?;
/// # let mut listener = server.listen(5432)?;
/// # unikernel_rt::spawn(async move {
/// #     let mut tls = acceptor.accept(listener.accept().await).await?;
/// #     embedded_io_async::Write::write_all(&mut tls, b"hello").await?;
/// #     tls.close().await
/// # });
/// let connector = TlsConnector::new(Roots::from_pem(ca)?)?;
/// let tcp = client.connect("10.0.0.2:5432".parse()?).await?;
/// let tls = connector.connect("db.example.org", tcp).await?;
/// assert_eq!(tls.info().server_name(), Some("db.example.org"));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    handshake_timeout: Duration,
}

/// The settings of a [`TlsConnector`].
///
/// Both sides with other settings than the usual:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_tls::{Identity, Roots, TlsAcceptor, TlsConnector};
///
#[doc = include_str!("pair.md")]
/// let acceptor = TlsAcceptor::builder(Identity::from_pem(pem)?).alpn(&["h2", "http/1.1"]).build()?;
/// let connector = TlsConnector::builder(Roots::from_pem(ca)?).alpn(&["http/1.1"]).resumption(false).build()?;
/// # let mut listener = server.listen(443)?;
/// # unikernel_rt::spawn(async move {
/// #     let _tls = acceptor.accept(listener.accept().await).await?;
/// #     std::future::pending::<Result<(), unikernel_tls::TlsError>>().await
/// # });
/// # let tcp = client.connect("10.0.0.2:443".parse()?).await?;
/// let tls = connector.connect("db.example.org", tcp).await?;
/// assert_eq!(tls.info().alpn(), Some(&b"http/1.1"[..]));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct TlsConnectorBuilder {
    roots: Roots,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    resumes: bool,
    handshake_timeout: Duration,
}

impl TlsConnector {
    /// Trusts `roots`; no client certificate, no ALPN, sessions are resumed.
    pub fn new(roots: Roots) -> Result<TlsConnector, ConfigError> {
        TlsConnector::builder(roots).build()
    }

    /// With other settings.
    pub fn builder(roots: Roots) -> TlsConnectorBuilder {
        TlsConnectorBuilder {
            roots,
            identity: None,
            alpn: Vec::new(),
            resumes: true,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Makes a handshake on `stream` with a server that must show a certificate for `server_name`: a DNS name or an IP
    /// address. Within the time limit. Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`TlsError::Certificate`] says why a certificate is refused. The server has been told by an alert, if the
    /// stream took it.
    pub async fn connect<S: Read + Write>(&self, server_name: &str, mut stream: S) -> Result<TlsStream<S>, TlsError> {
        let name = ServerName::try_from(String::from(server_name))
            .map_err(|_| TlsError::Protocol(rustls::Error::UnsupportedNameType))?;
        let handshake = Handshake::new(UnbufferedClientConnection::new(self.config.clone(), name)?);
        let (sender, receiver, info) = timeout(self.handshake_timeout, handshake.run(&mut stream, |_| ()))
            .await
            .map_err(|_| TlsError::TimedOut)??;
        Ok(TlsStream::new(stream, sender, receiver, info.with_server_name(Some(server_name.into()))))
    }
}

impl TlsConnectorBuilder {
    /// Shows this certificate to servers that ask for one.
    pub fn identity(mut self, identity: Identity) -> TlsConnectorBuilder {
        self.identity = Some(identity);
        self
    }

    /// The protocols above, most wanted first (RFC 7301).
    pub fn alpn(mut self, protocols: &[&str]) -> TlsConnectorBuilder {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// `false`: every connection makes a full handshake.
    pub fn resumption(mut self, resumes: bool) -> TlsConnectorBuilder {
        self.resumes = resumes;
        self
    }

    /// Time for a handshake, [`HANDSHAKE_TIMEOUT`] unless set.
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsConnectorBuilder {
        self.handshake_timeout = limit;
        self
    }

    /// The connector.
    pub fn build(self) -> Result<TlsConnector, ConfigError> {
        let builder = ClientConfig::builder_with_details(crypto::provider(), Arc::new(clock::Strict))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.0);
        let mut config = match self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.enable_secret_extraction = true;
        config.resumption = match self.resumes {
            true => Resumption::store(Arc::new(ClientSessions::new())),
            false => Resumption::disabled(),
        };
        Ok(TlsConnector { config: Arc::new(config), handshake_timeout: self.handshake_timeout })
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}
