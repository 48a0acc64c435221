//! Who we are ([`Identity`]) and whom we trust ([`Roots`]).

use crate::{crypto, error::ConfigError};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::fmt;
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// A chain of certificates and the private key of its first one. Clones share it.
///
/// ```
/// use unikernel_tls::Identity;
///
/// # let made = rcgen::generate_simple_self_signed(["example.org".into(), "*.example.org".into()]).unwrap();
/// # let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
/// let identity = Identity::from_pem_parts(chain.as_bytes(), key.as_bytes())?;
/// assert_eq!(format!("{identity:?}"), r#"Identity { names: ["example.org", "*.example.org"], .. }"#);
///
/// // The key of another certificate.
/// # let other = rcgen::generate_simple_self_signed(["example.org".into()]).unwrap();
/// # let key = other.signing_key.serialize_pem();
/// assert!(Identity::from_pem_parts(chain.as_bytes(), key.as_bytes()).is_err());
/// # Ok::<(), unikernel_tls::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    /// The names it is for, as they stand in the certificate: `*.example.org`, too.
    pub(crate) names: Vec<String>,
}

impl Identity {
    /// From one PEM text with the chain (the certificate itself first) and the private key, in any order of the two:
    /// the file that most certificate authorities' tools call "full chain" with the key appended.
    pub fn from_pem(bundle: &[u8]) -> Result<Identity, ConfigError> {
        Identity::from_pem_parts(bundle, bundle)
    }

    /// From two PEM texts.
    pub fn from_pem_parts(chain: &[u8], key: &[u8]) -> Result<Identity, ConfigError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            ConfigError::new(format!("no private key (PKCS #8, SEC 1 or PKCS #1) in the PEM text: {error:?}"))
        })?;
        Identity::new(chain, key)
    }

    /// From DER: the chain, and the private key in PKCS #8, SEC 1 or PKCS #1.
    pub fn from_der(chain: &[&[u8]], key: &[u8]) -> Result<Identity, ConfigError> {
        let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivateKeyDer::try_from(key.to_vec())
            .map_err(|reason| ConfigError::new(format!("the private key cannot be read: {reason}")))?;
        Identity::new(chain, key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Identity, ConfigError> {
        let provider: Arc<CryptoProvider> = crypto::provider();
        let first = chain.first().ok_or_else(|| ConfigError::new("there is no certificate"))?;
        let names = webpki::EndEntityCert::try_from(first)
            .map_err(|error| ConfigError::new(format!("the certificate cannot be read: {error:?}")))?
            .valid_dns_names()
            .map(String::from)
            .collect();
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        Ok(Identity { key: Arc::new(key), names })
    }

    /// Whether the certificate is for `name`: itself, or by a `*` in place of its first label (RFC 9525, 6.3).
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(pattern),
        })
    }
}

/// The names, and nothing of the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Certificate authorities that are trusted. Clones share them.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_tls::{Roots, TlsConnector, TlsError};
///
#[doc = include_str!("pair.md")]
/// # let ours = ca;
/// # let other = rcgen::generate_simple_self_signed(["other.example.org".into()])?.cert.pem();
/// # let acceptor = unikernel_tls::TlsAcceptor::new(unikernel_tls::Identity::from_pem(pem)?)?;
/// # let mut listener = server.listen(5432)?;
/// # unikernel_rt::spawn(async move { while acceptor.accept(listener.accept().await).await.is_err() {} });
/// # let ca = other.as_bytes();
/// // The server's certificate is not of this authority.
/// let connector = TlsConnector::new(Roots::from_pem(ca)?)?;
/// let tcp = client.connect("10.0.0.2:5432".parse()?).await?;
/// let refused = connector.connect("db.example.org", tcp).await;
/// assert!(matches!(refused, Err(TlsError::Certificate(_))));
/// # let connector = TlsConnector::new(Roots::from_pem(ours)?)?;
/// # connector.connect("db.example.org", client.connect("10.0.0.2:5432".parse()?).await?).await?;
///
/// assert!(Roots::from_pem(b"no certificate").is_err());
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Roots(pub(crate) Arc<RootCertStore>);

impl Roots {
    /// Those of a PEM text, one or more: a private authority.
    pub fn from_pem(text: &[u8]) -> Result<Roots, ConfigError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(text)? {
            store.add(certificate)?;
        }
        Ok(Roots(Arc::new(store)))
    }

    /// Those of Mozilla's root programme, as of the version of the crate `webpki-roots`.
    #[cfg(feature = "webpki-roots")]
    pub fn public() -> Roots {
        Roots(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| ConfigError::new(format!("the PEM text is damaged: {error:?}")))?;
    if certificates.is_empty() {
        return Err(ConfigError::new("there is no `BEGIN CERTIFICATE` in the PEM text"));
    }
    Ok(certificates)
}
