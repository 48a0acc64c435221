//! What can go wrong, and why, in words for whoever reads the log.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};
use embedded_io_async::ErrorKind;
use rustls::{
    AlertDescription, CertificateError, Error as RustlsError,
    pki_types::{IpAddr, ServerName},
};

/// Why a connection could not be made, or does not go on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// The stream below failed.
    Stream(ErrorKind),
    /// The stream ended without the peer's `close_notify`: somebody may have cut the end off (RFC 8446, 6.1).
    Truncated,
    /// The handshake took longer than it may.
    TimedOut,
    /// The peer's certificate is not accepted.
    Certificate(Rejection),
    /// The peer sent this alert (RFC 8446, B.2), and with that ended the connection.
    Alert(u8),
    /// The peer does not keep to the protocol.
    Misbehaved(Misuse),
    /// Handshake or records: see the text of rustls.
    Protocol(RustlsError),
    /// The wall clock shows a time before this crate was written, so no certificate can be checked. Give the machine a
    /// clock (QEMU: `-rtc base=utc`), or let it ask for the time (SNTP) first.
    ClockNotSet,
    /// This direction was closed with `close`.
    Closed,
    /// TLS 1.2 has no way to renew keys; make a new connection.
    KeyUsedUp,
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rejection {
    /// It was valid until `not_after`; both times in seconds since 1970.
    Expired {
        /// The wall clock.
        now: u64,
        /// The end of its time.
        not_after: u64,
    },
    /// It becomes valid at `not_before`; both times in seconds since 1970.
    NotYetValid {
        /// The wall clock.
        now: u64,
        /// The start of its time.
        not_before: u64,
    },
    /// No chain leads to a root we trust: the root is missing here, or the peer left out an intermediate certificate,
    /// or its certificate is signed by itself.
    UnknownIssuer,
    /// It was issued for other names.
    WrongName {
        /// Whom we called.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// A signature in the chain, or on the handshake, is wrong.
    BadSignature,
    /// It was signed in a way that is not accepted here (for example with SHA-1, or RSA below 2048 bits).
    WeakSignature,
    /// It is not meant for this use (server or client).
    WrongPurpose,
    /// The peer sent no certificate, but must.
    Missing,
    /// It is damaged, or breaks the rules in another way.
    Invalid(CertificateError),
}

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// A record or message that has no place here.
    UnexpectedMessage,
    /// A message that cannot be read.
    Malformed,
    /// A message beyond [`limits::POST_HANDSHAKE_LEN_MAX`](crate::limits::POST_HANDSHAKE_LEN_MAX) or
    /// [`limits::HANDSHAKE_LEN_MAX`](crate::limits::HANDSHAKE_LEN_MAX).
    MessageTooLong,
    /// More than [`limits::USELESS_RECORDS_MAX`](crate::limits::USELESS_RECORDS_MAX) records in a row without data.
    UselessRecords,
}

impl TlsError {
    pub(crate) fn stream(error: impl embedded_io_async::Error) -> TlsError {
        TlsError::Stream(error.kind())
    }
}

impl From<RustlsError> for TlsError {
    fn from(error: RustlsError) -> TlsError {
        match error {
            RustlsError::InvalidCertificate(error) => TlsError::Certificate(error.into()),
            RustlsError::NoCertificatesPresented => TlsError::Certificate(Rejection::Missing),
            RustlsError::FailedToGetCurrentTime => TlsError::ClockNotSet,
            RustlsError::AlertReceived(alert) => TlsError::Alert(alert.into()),
            error => TlsError::Protocol(error),
        }
    }
}

impl From<CertificateError> for Rejection {
    fn from(error: CertificateError) -> Rejection {
        use CertificateError as Error;
        match error {
            Error::ExpiredContext { time, not_after } => {
                Rejection::Expired { now: time.as_secs(), not_after: not_after.as_secs() }
            }
            Error::NotValidYetContext { time, not_before } => {
                Rejection::NotYetValid { now: time.as_secs(), not_before: not_before.as_secs() }
            }
            Error::UnknownIssuer => Rejection::UnknownIssuer,
            Error::NotValidForNameContext { expected, presented } => Rejection::WrongName {
                expected: text(&expected),
                presented: presented.iter().map(|name| bare(name).to_owned()).collect(),
            },
            Error::BadSignature => Rejection::BadSignature,
            Error::UnsupportedSignatureAlgorithmContext { .. }
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Rejection::WeakSignature,
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => Rejection::WrongPurpose,
            error => Rejection::Invalid(error),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Stream(kind) => write!(f, "the connection below TLS failed: {kind:?}"),
            TlsError::Truncated => f.write_str("the connection ended without close_notify: data may have been cut off"),
            TlsError::TimedOut => f.write_str("the TLS handshake did not end in time"),
            TlsError::Certificate(rejection) => write!(f, "the peer's certificate is refused: {rejection}"),
            TlsError::Alert(code) => write!(f, "the peer ended the connection: {:?}", AlertDescription::from(*code)),
            TlsError::Misbehaved(misuse) => write!(f, "the peer does not keep to the protocol: {misuse}"),
            TlsError::Protocol(error) => write!(f, "{error}"),
            TlsError::ClockNotSet => f.write_str(
                "the wall clock is not set, so certificates cannot be checked; give the machine a clock or SNTP",
            ),
            TlsError::Closed => f.write_str("this direction of the connection is closed"),
            TlsError::KeyUsedUp => f.write_str("the keys of this TLS 1.2 connection are used up; connect again"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Expired { now, not_after } => {
                write!(f, "expired on {}; the clock here says {}", Date(*not_after), Date(*now))
            }
            Rejection::NotYetValid { now, not_before } => {
                write!(f, "valid from {} on; the clock here says {}", Date(*not_before), Date(*now))
            }
            Rejection::UnknownIssuer => f.write_str(
                "unknown issuer; add its root (or itself, if it is self-signed), or intermediates at the peer",
            ),
            Rejection::WrongName { expected, presented } => {
                write!(f, "issued for {}, not for {expected}", List(presented))
            }
            Rejection::BadSignature => f.write_str("a signature is wrong"),
            Rejection::WeakSignature => f.write_str("signed with an algorithm or key length that is not accepted"),
            Rejection::WrongPurpose => f.write_str("not issued for this use (check extendedKeyUsage)"),
            Rejection::Missing => f.write_str("none was sent"),
            Rejection::Invalid(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::UnexpectedMessage => "unexpected message",
            Misuse::Malformed => "malformed message",
            Misuse::MessageTooLong => "message too long",
            Misuse::UselessRecords => "too many records without data",
        })
    }
}

impl core::error::Error for TlsError {}

impl embedded_io_async::Error for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            TlsError::Stream(kind) => *kind,
            TlsError::Truncated => ErrorKind::ConnectionAborted,
            TlsError::TimedOut => ErrorKind::TimedOut,
            TlsError::Alert(_) => ErrorKind::ConnectionReset,
            TlsError::Certificate(_) | TlsError::ClockNotSet => ErrorKind::PermissionDenied,
            TlsError::Misbehaved(_) | TlsError::Protocol(_) => ErrorKind::InvalidData,
            TlsError::Closed => ErrorKind::NotConnected,
            TlsError::KeyUsedUp => ErrorKind::Other,
        }
    }
}

/// A name as people write it.
fn text(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(IpAddr::V4(address)) => Ipv4Addr::from(*address.as_ref()).to_string(),
        ServerName::IpAddress(IpAddr::V6(address)) => Ipv6Addr::from(*address.as_ref()).to_string(),
        name => alloc::format!("{name:?}"),
    }
}

/// A name out of `DnsName("name")`, as rustls hands it over.
fn bare(name: &str) -> &str {
    let name = name.split_once('(').map_or(name, |(_, name)| name);
    name.trim_matches(|sign| matches!(sign, '(' | ')' | '"'))
}

/// Names, for a message.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no name"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

/// Seconds since 1970 as a date: the days by Howard Hinnant's `civil_from_days`.
struct Date(u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = year + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", self.0 / 3600 % 24, self.0 / 60 % 60)
    }
}

/// An identity, roots or settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(text: impl Into<String>) -> ConfigError {
        ConfigError(text.into())
    }
}

impl From<RustlsError> for ConfigError {
    fn from(error: RustlsError) -> ConfigError {
        match error {
            RustlsError::General(text) => ConfigError(text),
            RustlsError::InconsistentKeys(_) => ConfigError("the private key is not the certificate's".to_owned()),
            error => ConfigError(alloc::format!("{error}")),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ConfigError {}
