//! The boot arguments.

use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    net::{AddrParseError, SocketAddr},
    str::FromStr,
};
use unikernel_rt::{Args, Error, Result};

/// Shorter tokens could be guessed: 16 letters out of 64 are 96 bits.
const TOKEN_LEN_MIN: usize = 16;

/// What the proxy was told at boot.
pub struct Settings {
    /// `backend=ADDR:PORT,ADDR:PORT`
    pub backends: Vec<SocketAddr>,
    /// `balance=round-robin` (the default) or `balance=least-connections`
    pub balance: Balance,
    /// `health=/PATH`: what a healthy backend answers with 2xx or 3xx; `/` by default.
    pub health_path: String,
    /// `admin=TOKEN`: who knows it may change the certificate. Without it nobody may.
    pub admin_token: Option<String>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Who has the fewest requests; one after the other among equals.
    LeastConnections,
}

impl Settings {
    pub fn read(args: &Args) -> Result<Settings> {
        let missing = || Error::msg("no backends; name them with `backend=ADDR:PORT,ADDR:PORT`");
        let Addresses(backends) = args.get("backend")?.ok_or_else(missing)?;
        let health_path: String = args.get("health")?.unwrap_or("/".into());
        if !health_path.starts_with('/') {
            return Err(Error::msg("the boot argument `health` is a path; it starts with `/`"));
        }
        let admin_token: Option<String> = args.get("admin")?;
        if admin_token.as_ref().is_some_and(|token| token.len() < TOKEN_LEN_MIN) {
            return Err(Error::msg("the boot argument `admin` has less than 16 letters; try `openssl rand -hex 16`"));
        }
        Ok(Settings { backends, balance: args.get("balance")?.unwrap_or_default(), health_path, admin_token })
    }
}

/// A list with commas.
struct Addresses(Vec<SocketAddr>);

impl FromStr for Addresses {
    type Err = AddrParseError;

    fn from_str(text: &str) -> core::result::Result<Addresses, AddrParseError> {
        text.split(',').map(str::parse).collect::<core::result::Result<_, _>>().map(Addresses)
    }
}

/// Neither of the two words.
#[derive(Debug)]
pub struct UnknownBalance;

impl fmt::Display for UnknownBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("say `round-robin` or `least-connections`")
    }
}

impl FromStr for Balance {
    type Err = UnknownBalance;

    fn from_str(text: &str) -> core::result::Result<Balance, UnknownBalance> {
        match text {
            "round-robin" => Ok(Balance::RoundRobin),
            "least-connections" => Ok(Balance::LeastConnections),
            _ => Err(UnknownBalance),
        }
    }
}
