//! The way to the cloud: credentials, region, endpoint and certificates by the SDK's own rules, and its errors in our words.

use std::{env, future::Future, time::Duration};

use anyhow::{Context, Result, anyhow};
use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::{
    config::ProvideCredentials,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long a call may take, with all its repetitions: a signal waits for those that make something.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two questions for a state: the API tells of no change by itself.
pub const POLL: Duration = Duration::from_secs(2);
/// How often something that was just made may be unknown, as EC2 takes a while to hear of it everywhere.
const UNKNOWN_MAX: usize = 15;

/// The two services.
#[derive(Clone)]
pub struct Clients {
    /// Machines, images, snapshots.
    pub ec2: aws_sdk_ec2::Client,
    /// The bytes of snapshots.
    pub ebs: aws_sdk_ebs::Client,
}

impl Clients {
    /// Finds out who we are and where. Asks for no machine yet.
    pub async fn connect() -> Result<Clients> {
        let tls = Provider::Rustls(CryptoMode::Ring);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https())
            .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIME_MAX).build())
            .load()
            .await;
        check(&config).await?;
        Ok(Clients { ec2: aws_sdk_ec2::Client::new(&config), ebs: aws_sdk_ebs::Client::new(&config) })
    }
}

/// The calls would fail with words that say nothing about this.
async fn check(config: &SdkConfig) -> Result<()> {
    config.region().context(
        "no AWS region is known; set AWS_REGION, such as `AWS_REGION=eu-central-1`, or AWS_PROFILE to a profile of ~/.aws/config \
         that has one",
    )?;
    let credentials = config.credentials_provider().context("the AWS SDK has no credentials provider")?;
    credentials.provide_credentials().await.map(drop).map_err(|error| {
        anyhow!(
            "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of \
             ~/.aws/config that `aws configure` or `aws configure sso` made ({:#})",
            anyhow!(error)
        )
    })
}

/// The error of a call: what was refused, or why nobody answers.
pub fn failed<E>(call: &'static str) -> impl FnOnce(SdkError<E>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| match (error.code(), error.message()) {
        (Some(code), message) => {
            anyhow!("AWS refuses {call}: {} ({code}){}", message.unwrap_or("it says no more"), hint(code))
        }
        (None, _) if error.raw_response().is_some() => {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            anyhow!("AWS does not understand {call}, or has a fault: HTTP status {status}")
        }
        (None, _) => {
            let place = match env::var("AWS_ENDPOINT_URL") {
                Ok(url) => format!("AWS_ENDPOINT_URL is {url}"),
                Err(_) => "look at the network, and at AWS_REGION".into(),
            };
            anyhow!("AWS does not answer {call}; {place}: {:#}", anyhow::Error::new(error))
        }
    }
}

fn hint(code: &str) -> &'static str {
    match code {
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            "; the page of the book on clouds has the permissions that are needed"
        }
        "AuthFailure" | "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => {
            "; look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        }
        "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" => "; log in again",
        _ => "",
    }
}

/// The service does not know what the call is about.
pub fn is_unknown<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    // `InvalidSnapshot.NotFound`, `InvalidAMIID.NotFound`; the EBS direct APIs say `ResourceNotFoundException`.
    error.code().is_some_and(|code| code.contains("NotFound"))
}

/// Calls again while `is_passing` says so, a bounded number of times.
pub async fn settled<T, E, F>(is_passing: impl Fn(&SdkError<E>) -> bool, call: impl Fn() -> F) -> Result<T, SdkError<E>>
where
    F: Future<Output = Result<T, SdkError<E>>>,
{
    for _ in 0..UNKNOWN_MAX {
        match call().await {
            Err(error) if is_passing(&error) => tokio::time::sleep(POLL).await,
            result => return result,
        }
    }
    call().await
}
