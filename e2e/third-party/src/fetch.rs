//! reqwless over our `TcpConnect` and `Dns`.

use alloc::{
    format,
    string::{String, ToString},
    vec,
};
use reqwless::{client::HttpClient, request::Method};
use unikernel_net::Stack;

/// The head and the body of a response must fit.
const RESPONSE_LEN_MAX: usize = 256 * 1024;

/// Status and body of what is at `url`.
pub async fn fetch(stack: &Stack, url: Option<&str>) -> Result<String, String> {
    let url = url.ok_or("start with the boot argument `fetch=URL`")?;
    let mut client = HttpClient::new(stack, stack);
    let mut buffer = vec![0; RESPONSE_LEN_MAX];
    let failed = |error| format!("reqwless: {error:?}");
    let mut request = client.request(Method::GET, url).await.map_err(failed)?;
    let response = request.send(&mut buffer).await.map_err(failed)?;
    let status = response.status.0;
    let body = response.body().read_to_end().await.map_err(failed)?;
    let body = core::str::from_utf8(body).map_err(|error| error.to_string())?;
    Ok(format!("{status} {body}"))
}
