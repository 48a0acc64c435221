//! JSON in and out.

use super::{FromRequest, body};
use crate::{IntoResponse, Request, Response, Status};
use alloc::format;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

const JSON: &str = "Content-Type: application/json\r\n";

/// A value as JSON: of the request as an argument, of the response as a result.
///
/// Refuses another Content-Type with 415, what is no JSON with 400, and JSON of another shape with 422. A result that
/// JSON cannot express (a map whose keys are no text) is answered with 500.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use serde::{Deserialize, Serialize};
/// use unikernel_http::{Json, Router, post};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Point { x: i32, y: i32 }
///
/// async fn mirror(Json(point): Json<Point>) -> Json<Point> { Json(Point { x: point.y, y: point.x }) }
///
/// let router: Router = Router::new().route("/mirror", post(mirror));
#[doc = include_str!("../served.md")]
/// let answer = client.post("http://10.0.0.2/mirror").json(&Point { x: 1, y: 2 }).send().await?;
/// assert_eq!(answer.json::<Point>().await?, Point { x: 2, y: 1 });
/// let refused = client.post("http://10.0.0.2/mirror").json(&"no point").send().await?;
/// assert_eq!(refused.status().code(), 422);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<S, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Response> {
        if !body::has_type(&request, |kind| {
            kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
        }) {
            let text = "send the body with `Content-Type: application/json`\n";
            return Err(Response::text(Status::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let bytes = body::collect(request).await.map_err(IntoResponse::into_response)?;
        serde_json::from_slice(&bytes).map(Json).map_err(|error| {
            let status = match error.classify() {
                Category::Data => Status::UNPROCESSABLE_CONTENT,
                _ => Status::BAD_REQUEST,
            };
            (status, format!("the body: {error}\n")).into_response()
        })
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Response::with_lines(Status::OK, JSON, text),
            Err(_) => Response::text(Status::INTERNAL_SERVER_ERROR, "the result cannot be written as JSON\n"),
        }
    }
}
