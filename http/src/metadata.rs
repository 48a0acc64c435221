//! [`Metadata`]: configuration from the metadata service of a cloud, for machines that share one disk image.
//!
//! Two services of one protocol (IMDSv2: a token by `PUT`, then `GET` with it) on 169.254.169.254: Amazon EC2's, and
//! Firecracker's MMDS. The text is the user data, at `/latest/user-data`; see [`unikernel_rt::config`] for what it holds.
//! What answers there is as much to be trusted as the network of the machine: who can give an address out as his own can
//! configure it. So nobody is asked unless the boot argument `metadata=` says so.

use crate::client::{Client, Connect, Error as ClientError, Limits, Response};
use alloc::format;
use core::{fmt, future::Future, str::FromStr};
use unikernel_net::Stack;
use unikernel_rt::{
    Acquire, Error, Machine, Result, Secret, args,
    config::{self, Source, TEXT_LEN_MAX},
    time::{Duration, timeout},
};

const TOKEN_URL: &str = "http://169.254.169.254/latest/api/token";
const TEXT_URL: &str = "http://169.254.169.254/latest/user-data";
/// Two requests follow each other at once.
const TOKEN_SECONDS: &str = "60";
/// EC2's have 56 bytes.
const TOKEN_LEN_MAX: usize = 1024;
/// It is next to the machine and answers in milliseconds; the time includes the wait for an address.
const PATIENCE: Duration = Duration::from_secs(10);
/// A token that is not taken is perhaps too old, as the machine was paused; a second that is not is no mistake.
const ATTEMPTS: usize = 2;

/// The metadata service that the boot argument `metadata=` names: `aws`, `mmds`, or `off`, which is the default. As an
/// argument of `main`; [`load`](Self::load) then asks it.
///
/// ```
/// # #[allow(dead_code)] mod app {
/// use unikernel_http::Metadata;
/// use unikernel_net::Stack;
/// use unikernel_rt::Config;
///
/// async fn main(stack: Stack, metadata: Metadata, config: Config) -> unikernel_rt::Result {
///     metadata.load(&stack).await?;
///     let name: String = config.env("NAME")?.unwrap_or_default();
///     config.finish()?;
///     # let _ = name;
///     Ok(())
/// }
/// # }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// Nobody is asked.
    #[default]
    Off,
    /// The instance metadata service of Amazon EC2, version 2.
    Aws,
    /// Firecracker's, version 2, at the address that it has by default.
    Mmds,
}

impl FromStr for Metadata {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Metadata, &'static str> {
        match text {
            "off" => Ok(Metadata::Off),
            "aws" => Ok(Metadata::Aws),
            "mmds" => Ok(Metadata::Mmds),
            _ => Err("expected aws, mmds or off"),
        }
    }
}

impl Acquire for Metadata {
    async fn acquire(_: &mut Machine) -> Result<Metadata> {
        Ok(args::take("metadata")?.unwrap_or_default())
    }
}

impl Metadata {
    /// Adds what the service has for the app to its configuration. Nothing happens where it is off, or has no user data.
    ///
    /// # Errors
    ///
    /// It does not answer within ten seconds, refuses, or answers what no such service does; or what it has is wrong.
    pub async fn load(self, stack: &Stack) -> Result {
        self.load_through(stack.clone(), stack.configured_v4()).await
    }

    /// The same over another kind of connection, once `ready` is.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub async fn load_through(self, connector: impl Connect, ready: impl Future<Output = ()>) -> Result {
        let Some(headers) = self.headers() else { return Ok(()) };
        let asking = async {
            ready.await;
            ask(client(connector), headers).await
        };
        let asked = timeout(PATIENCE, asking).await.unwrap_or(Err(Problem::Silent));
        let text = asked.map_err(|problem| Error::msg(format!("boot argument `metadata={self}`: {problem}")))?;
        text.map_or(Ok(()), |text| config::add(Source::Metadata, text.expose().as_bytes()))
    }

    /// How long the token shall be good, and the token.
    fn headers(self) -> Option<[&'static str; 2]> {
        match self {
            Metadata::Off => None,
            Metadata::Aws => Some(["X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"]),
            Metadata::Mmds => Some(["X-metadata-token-ttl-seconds", "X-metadata-token"]),
        }
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metadata::Off => "off",
            Metadata::Aws => "aws",
            Metadata::Mmds => "mmds",
        })
    }
}

/// A client that follows nobody elsewhere, and takes no more than there may be.
fn client(connector: impl Connect) -> Client {
    let limits = Limits {
        connect_timeout: PATIENCE,
        head_timeout: PATIENCE,
        total_timeout: PATIENCE,
        head_len_max: 4096,
        // One byte more than may be, so that the error about a long text is the one that says what to do.
        buffered_body_len_max: TEXT_LEN_MAX + 1,
        redirects_max: 0,
        connections_max: 1,
        ..Limits::default()
    };
    Client::builder(connector).limits(limits).build()
}

/// Why there is no text.
enum Problem {
    Silent,
    Client(&'static str, ClientError),
    Status(&'static str, u16),
    Token,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Silent => {
                f.write_str("169.254.169.254 does not answer; is there such a service here? Without one, leave it out")
            }
            Problem::Client(what, error) => write!(f, "169.254.169.254 gave no {what}: {error}"),
            Problem::Status(what, 401) => {
                write!(f, "169.254.169.254 gave no {what}: it does not take its own token (401)")
            }
            Problem::Status(what, 403) => {
                write!(f, "169.254.169.254 gave no {what}: it is turned off for this machine (403)")
            }
            Problem::Status(what, code) => write!(f, "169.254.169.254 gave no {what}: it answered {code}"),
            Problem::Token => f.write_str("169.254.169.254 gave a token that is none; is it such a service?"),
        }
    }
}

/// What went wrong while it was asked for; that the time ran out is all the same, wherever it did.
fn failed(what: &'static str) -> impl Fn(ClientError) -> Problem {
    move |error| match error {
        ClientError::TimedOut(_) => Problem::Silent,
        error => Problem::Client(what, error),
    }
}

/// The user data; `None` where there are none.
async fn ask(client: Client, [lifetime, token_field]: [&str; 2]) -> Result<Option<Secret>, Problem> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let token = token(&client, lifetime).await?;
        let request = client.get(TEXT_URL).header(token_field, token.expose()).raw();
        let response = request.send().await.map_err(failed(TEXT))?;
        match response.status().code() {
            401 if attempt < ATTEMPTS => continue,
            404 => return Ok(None),
            _ => return body(TEXT, response).await.map(Some),
        }
    }
}

const TOKEN: &str = "token";
const TEXT: &str = "user data";

async fn token(client: &Client, lifetime: &str) -> Result<Secret, Problem> {
    let request = client.put(TOKEN_URL).header(lifetime, TOKEN_SECONDS).raw();
    let response = request.send().await.map_err(failed(TOKEN))?;
    let token = body(TOKEN, response).await?;
    // It goes into a header field.
    let is_token =
        |text: &str| (1..=TOKEN_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token(token.expose()) { Ok(token) } else { Err(Problem::Token) }
}

async fn body(what: &'static str, response: Response) -> Result<Secret, Problem> {
    match response.status().code() {
        200 => response.text().await.map(Secret::from).map_err(failed(what)),
        code => Err(Problem::Status(what, code)),
    }
}
