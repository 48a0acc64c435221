//! Redirects (RFC 9110, 15.4).

use super::{Error, Response, Url, request::Parts};
use crate::{Body, body::Inner};
use bytes::Bytes;

/// Two bodies out of one, if it is in memory. A stream goes through once.
pub(super) fn share(body: Body) -> (Option<Body>, Body) {
    if body.0.as_bytes().is_none() {
        return (None, body);
    }
    let bytes: Bytes = body.0.into_bytes();
    (Some(Body::from(bytes.clone())), Body::from(bytes))
}

/// A second copy of the body, for a redirect that asks for it.
pub(super) fn keep_body(parts: &mut Parts) -> Option<Body> {
    let (kept, body) = share(core::mem::take(&mut parts.body));
    parts.body = if matches!(body.0, Inner::Empty) { Body::empty() } else { body };
    kept
}

/// Whether the response sends the client elsewhere.
pub(super) fn is_redirect(response: &Response) -> bool {
    matches!(response.status().code(), 301 | 302 | 303 | 307 | 308) && response.header("location").is_some()
}

/// Where to go on, with `parts` changed for it; `None` when `response` is what was asked for.
///
/// A redirect that wants the body once more is returned as it is when that was a stream.
pub(super) fn next(
    response: &Response,
    parts: &mut Parts,
    kept: Option<Body>,
    allows_downgrade: bool,
) -> Result<Option<Url>, Error> {
    if parts.is_raw || !is_redirect(response) {
        return Ok(None);
    }
    let location = response.header("location").unwrap_or("");
    let url = response.url().join(location).map_err(|_| Error::Redirect("its Location is no http URL"))?;
    if response.url().is_https() && !url.is_https() && !allows_downgrade {
        return Err(Error::Redirect("it leads from https to http"));
    }
    match response.status().code() {
        // As every browser does, and RFC 9110, 15.4.2 allows.
        301 | 302 if parts.method == "POST" => parts.become_get(),
        303 if !parts.is_head() => parts.become_get(),
        _ => match kept {
            Some(body) => parts.body = body,
            None => return Ok(None),
        },
    }
    if !url.has_origin_of(response.url()) {
        parts.drop_credentials();
    }
    Ok(Some(url))
}
