//! The server's side: [`TlsAcceptor`].

use crate::{
    clock, crypto,
    error::{ConfigError, TlsError},
    handshake::Handshake,
    identity::{Identity, Roots},
    limits::{HANDSHAKE_TIMEOUT, SERVER_SESSIONS_MAX, TICKETS_SENT},
    sessions::ServerSessions,
    stream::TlsStream,
    tickets::Tickets,
};
use alloc::{rc::Rc, string::String, sync::Arc, vec::Vec};
use core::{cell::RefCell, fmt};
use embedded_io_async::{Read, Write};
use rustls::{
    ServerConfig,
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, UnbufferedServerConnection,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use spin::Mutex;
use unikernel_rt::time::{Duration, timeout, unix_time};

/// Accepts TLS connections on byte streams. Clones are the same acceptor.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use embedded_io_async::Write;
/// use unikernel_tls::{Identity, TlsAcceptor};
/// # use embedded_io_async::Read;
///
#[doc = include_str!("pair.md")]
/// let acceptor = TlsAcceptor::new(Identity::from_pem(pem)?)?;
/// let mut listener = server.listen(5432)?;
/// unikernel_rt::spawn(async move {
///     let mut tls = acceptor.accept(listener.accept().await).await?;
///     tls.write_all(b"hello").await?;
///     tls.close().await
/// });
/// # let connector = unikernel_tls::TlsConnector::new(unikernel_tls::Roots::from_pem(ca)?)?;
/// # let mut tls = connector.connect("db.example.org", client.connect("10.0.0.2:5432".parse()?).await?).await?;
/// # let mut greeting = [0; 99];
/// # let len = tls.read(&mut greeting).await?;
/// # assert_eq!(&greeting[..len], b"hello");
/// # assert_eq!(tls.read(&mut greeting).await?, 0);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct TlsAcceptor(Rc<RefCell<Shared>>);

struct Shared {
    settings: Settings,
    config: Arc<ServerConfig>,
    names: Arc<ByName>,
}

#[derive(Clone)]
struct Settings {
    alpn: Vec<Vec<u8>>,
    clients: ClientCertificates,
    resumption: Resumption,
    handshake_timeout: Duration,
}

/// Whether clients show certificates.
///
/// A client that must show a certificate, and one that does:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_tls::{ClientCertificates, Identity, Roots, TlsAcceptor, TlsConnector};
///
#[doc = include_str!("pair.md")]
/// let clients = ClientCertificates::Required(Roots::from_pem(ca)?);
/// let acceptor = TlsAcceptor::builder(Identity::from_pem(pem)?).client_certificates(clients).build()?;
/// assert!(acceptor.requires_client_certificates());
///
/// let connector = TlsConnector::builder(Roots::from_pem(ca)?).identity(Identity::from_pem(pem)?).build()?;
/// # let mut listener = server.listen(5432)?;
/// # for (connector, is_let_in) in [(connector, true), (TlsConnector::new(Roots::from_pem(ca)?)?, false)] {
/// #     let tcp = client.connect("10.0.0.2:5432".parse()?).await?;
/// #     let connecting = unikernel_rt::spawn(async move { connector.connect("db.example.org", tcp).await.map(drop) });
/// #     let accepted = acceptor.accept(listener.accept().await).await;
/// #     assert_eq!(accepted.is_ok(), is_let_in);
/// #     drop((accepted, connecting.await));
/// # }
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    Ignored,
    /// They are asked, and may have none; one that does not lead to the roots is refused.
    Optional(Roots),
    /// Without one that leads to the roots the handshake fails.
    Required(Roots),
}

/// How clients come back without a full handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resumption {
    /// The client keeps the session, sealed with a key of this machine that changes every
    /// [few hours](crate::limits::TICKET_KEY_LIFETIME). No memory here.
    #[default]
    Tickets,
    /// This machine keeps [so many](crate::limits::SERVER_SESSIONS_MAX) sessions; each serves once in TLS 1.3.
    Cache,
    /// They do not.
    Off,
}

/// The settings of a [`TlsAcceptor`]. See [`TlsConnectorBuilder`](crate::TlsConnectorBuilder) for an example of both
/// sides.
pub struct TlsAcceptorBuilder {
    identities: Vec<Identity>,
    settings: Settings,
}

impl TlsAcceptor {
    /// With one identity and the defaults: no client certificates, no ALPN, tickets.
    pub fn new(identity: Identity) -> Result<TlsAcceptor, ConfigError> {
        TlsAcceptor::builder(identity).build()
    }

    /// With other settings. `identity` is also for clients that name no name or one that we do not have.
    pub fn builder(identity: Identity) -> TlsAcceptorBuilder {
        let settings = Settings {
            alpn: Vec::new(),
            clients: ClientCertificates::Ignored,
            resumption: Resumption::Tickets,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        };
        TlsAcceptorBuilder { identities: Vec::from([identity]), settings }
    }

    /// Makes a handshake on `stream`, within the time limit. Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// The client has been told the reason by an alert, if the stream took it.
    pub async fn accept<S: Read + Write>(&self, mut stream: S) -> Result<TlsStream<S>, TlsError> {
        let (config, names, limit) = {
            let shared = self.0.borrow();
            (shared.config.clone(), shared.names.clone(), shared.settings.handshake_timeout)
        };
        let handshake = Handshake::new(UnbufferedServerConnection::new(config)?);
        let mut server_name = None;
        // rustls asks for the identity while it works on the client's first message, so what `names` heard last
        // during that is this client's.
        let look = |_: &UnbufferedServerConnection| server_name = server_name.take().or_else(|| names.take_heard());
        let (sender, receiver, info) =
            timeout(limit, handshake.run(&mut stream, look)).await.map_err(|_| TlsError::TimedOut)??;
        Ok(TlsStream::new(stream, sender, receiver, info.with_server_name(server_name)))
    }

    /// Whether nobody gets in without a certificate: see [`ClientCertificates::Required`].
    pub fn requires_client_certificates(&self) -> bool {
        matches!(self.0.borrow().settings.clients, ClientCertificates::Required(_))
    }

    /// New handshakes use `identity` alone; connections that are open, and tickets, stay good.
    pub fn replace(&self, identity: Identity) {
        self.replace_all(Vec::from([identity]));
    }

    /// New handshakes use these identities, the first one where no name fits. With none, nothing changes.
    pub fn replace_all(&self, identities: Vec<Identity>) {
        if !identities.is_empty() {
            let names = self.0.borrow().names.clone();
            *names.identities.lock() = identities;
        }
    }

    /// New handshakes follow the settings of `other`, and show its identities. Tickets issued before are void, as they
    /// might get around a new check of client certificates.
    pub fn replace_settings(&self, other: TlsAcceptor) {
        if Rc::ptr_eq(&self.0, &other.0) {
            return;
        }
        let other = other.0.borrow();
        *self.0.borrow_mut() =
            Shared { settings: other.settings.clone(), config: other.config.clone(), names: other.names.clone() };
    }
}

impl TlsAcceptorBuilder {
    /// One more identity, for clients that call one of its names.
    pub fn identity(mut self, identity: Identity) -> TlsAcceptorBuilder {
        self.identities.push(identity);
        self
    }

    /// The protocols above, most wanted first (RFC 7301). A client that offers some, but none of these, is refused.
    pub fn alpn(mut self, protocols: &[&str]) -> TlsAcceptorBuilder {
        self.settings.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Whether clients show certificates.
    pub fn client_certificates(mut self, clients: ClientCertificates) -> TlsAcceptorBuilder {
        self.settings.clients = clients;
        self
    }

    /// How clients come back.
    pub fn resumption(mut self, resumption: Resumption) -> TlsAcceptorBuilder {
        self.settings.resumption = resumption;
        self
    }

    /// Time for a handshake, [`HANDSHAKE_TIMEOUT`] unless set.
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsAcceptorBuilder {
        self.settings.handshake_timeout = limit;
        self
    }

    /// The acceptor.
    pub fn build(self) -> Result<TlsAcceptor, ConfigError> {
        let names = Arc::new(ByName { identities: Mutex::new(self.identities), heard: Mutex::new(None) });
        let config = Arc::new(config(&self.settings, names.clone())?);
        Ok(TlsAcceptor(Rc::new(RefCell::new(Shared { settings: self.settings, config, names }))))
    }
}

fn config(settings: &Settings, names: Arc<ByName>) -> Result<ServerConfig, ConfigError> {
    let provider = crypto::provider();
    let verifier = match &settings.clients {
        ClientCertificates::Ignored => None,
        ClientCertificates::Optional(roots) => Some(verifier(roots, true)?),
        ClientCertificates::Required(roots) => Some(verifier(roots, false)?),
    };
    let time: Arc<dyn TimeProvider> = match &verifier {
        Some(_) => Arc::new(clock::Strict),
        None => Arc::new(clock::Lenient),
    };
    let builder = ServerConfig::builder_with_details(provider, time).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(names);
    config.alpn_protocols = settings.alpn.clone();
    config.enable_secret_extraction = true;
    // What is cheap here matters more than what is cheap for one client.
    config.ignore_client_order = true;
    config.send_tls13_tickets = TICKETS_SENT;
    match settings.resumption {
        Resumption::Tickets => config.ticketer = Arc::new(Tickets::new(unix_time)) as Arc<dyn ProducesTickets>,
        Resumption::Cache => config.session_storage = Arc::new(ServerSessions::new(SERVER_SESSIONS_MAX)),
        Resumption::Off => {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
    }
    Ok(config)
}

fn verifier(roots: &Roots, may_be_missing: bool) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.0.clone(), crypto::provider());
    let builder = if may_be_missing { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| ConfigError::new(alloc::format!("the roots for clients cannot be used: {error}")))
}

/// Finds the identity for a client.
struct ByName {
    identities: Mutex<Vec<Identity>>,
    /// The name that the last client called.
    heard: Mutex<Option<String>>,
}

impl ByName {
    fn take_heard(&self) -> Option<String> {
        self.heard.lock().take()
    }
}

impl ResolvesServerCert for ByName {
    /// By name, among those whose key the client can check; the first one is for everybody else.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        *self.heard.lock() = name.map(String::from);
        let identities = self.identities.lock();
        let can_sign = |identity: &&Identity| identity.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = identities.iter().filter(|identity| name.is_some_and(|name| identity.is_for(name))).find(can_sign);
        let identity = named.or_else(|| identities.iter().find(can_sign))?;
        Some(identity.key.clone())
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsAcceptor({:?})", *self.0.borrow().names.identities.lock())
    }
}
