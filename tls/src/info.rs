//! What a handshake settled.

use alloc::{string::String, vec::Vec};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// What a handshake settled, and what the peer showed.
#[derive(Clone, Debug, Default)]
pub struct Info {
    version: TlsVersion,
    suite: String,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    peer_certificates: Vec<Vec<u8>>,
    is_resumed: bool,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    #[default]
    Tls13,
}

impl Info {
    pub(crate) fn new(state: &CommonState) -> Info {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let suite = state.negotiated_cipher_suite();
        let certificates = state.peer_certificates().unwrap_or_default();
        Info {
            version,
            suite: suite.map(|suite| alloc::format!("{:?}", suite.suite())).unwrap_or_default(),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name: None,
            peer_certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    pub(crate) fn with_server_name(mut self, name: Option<String>) -> Info {
        self.server_name = name;
        self
    }

    /// The version of the protocol.
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The cipher suite, by its name at IANA (those of TLS 1.3 begin with `TLS13_`).
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The protocol both sides chose (RFC 7301), for example `http/1.1`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// On a server: the name the client called (SNI, RFC 6066, 3). On a client: the name it called.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The peer's certificates in DER, its own first. They were checked. Empty when it showed none.
    pub fn peer_certificates(&self) -> &[Vec<u8>] {
        &self.peer_certificates
    }

    /// Whether an earlier session was resumed, without certificates and signatures.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}
