//! Handlers, extractors, responses, routers in routers, and middleware.
#![allow(missing_docs)]

mod common;

use common::{Answer, answers, block_on, exchange};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};
use unikernel_http::{
    Body, Bytes, Extension, Form, Headers, Html, IntoResponse, Json, Method, Next, Path, Query, Redirect, Request,
    Response, Router, State, Status, any, extract::FromRef, from_fn, get, post,
};

#[derive(Serialize, Deserialize)]
struct Point {
    x: i32,
    y: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Blue,
}

#[derive(Clone, Default)]
struct App {
    count: Rc<RefCell<u32>>,
    name: &'static str,
}

struct Name(&'static str);

impl FromRef<App> for Name {
    fn from_ref(app: &App) -> Name {
        Name(app.name)
    }
}

async fn count(State(app): State<App>) -> String {
    *app.count.borrow_mut() += 1;
    format!("{}", app.count.borrow())
}

async fn refuse(
    Path(code): Path<u16>,
) -> Result<&'static str, (Status, [(&'static str, &'static str); 1], &'static str)> {
    if code == 0 { Ok("fine") } else { Err((Status::new(code).unwrap(), [("X-Reason", "asked")], "refused")) }
}

fn router() -> Router {
    Router::new()
        .route("/number/{n}", get(async |Path(n): Path<u8>| format!("{}", n as u32 + 1)))
        .route("/text/{t}", get(async |Path(t): Path<String>| t))
        .route("/pair/{a}/{b}", get(async |Path((a, b)): Path<(String, bool)>| format!("{a} {b}")))
        .route("/map/{a}/{b}", get(async |Path(map): Path<BTreeMap<String, String>>| format!("{map:?}")))
        .route("/point/{x}/{y}", get(async |Path(Point { x, y }): Path<Point>| format!("{x} {y:?}")))
        .route("/colour/{c}", get(async |Path(c): Path<Colour>| matches!(c, Colour::Red).then_some("red")))
        .route("/query", get(async |Query(Point { x, y }): Query<Point>| format!("{x} {y:?}")))
        .route("/maybe", get(async |point: Option<Query<Point>>| format!("{}", point.is_some())))
        .route("/form", any(async |Form(Point { x, y }): Form<Point>| format!("{x} {y:?}")))
        .route("/json", post(async |Json(Point { x, y }): Json<Point>| Json(Point { x: y.unwrap_or(0), y: Some(x) })))
        .route(
            "/bytes",
            post(async |method: Method, headers: Headers, body: Bytes| {
                format!("{method} {:?} {}", headers.get("x-test"), body.len())
            }),
        )
        .route("/string", post(async |body: String| body))
        .route("/stream", post(async |body: Body| body))
        .route(
            "/request",
            post(async |mut request: Request| {
                let body = request.take_body().collect(9).await.unwrap();
                format!("{} {:?} {}", request.path(), request.query(), body.len())
            }),
        )
        .route("/count", get(count))
        .route("/name", get(async |State(Name(name)): State<Name>| name))
        .route("/refuse/{code}", get(refuse))
        .route("/html", get(async || Html("<p>")))
        .route("/see", post(async || Redirect::to("/html")))
        .route("/forged", get(async || Redirect::to("/\r\nX: y")))
        .route("/unit", get(async || ()))
        .with_state(App { name: "app", ..App::default() })
}

async fn ask_of(router: Router, input: String) -> Answer {
    answers(&exchange(router, input).await, &[]).remove(0)
}

#[track_caller]
fn check(line: &'static str, body: &'static str, expected: &'static str) {
    block_on(async move {
        let (line, kind) = line.split_once(" as ").unwrap_or((line, "text/plain"));
        let head = format!(
            "{line} HTTP/1.1\r\nHost: a\r\nX-Test: yes\r\nContent-Type: {kind}\r\nContent-Length: {}",
            body.len()
        );
        let answer = ask_of(router(), format!("{head}\r\n\r\n{body}")).await;
        assert_eq!(format!("{} {}", answer.status, answer.text()).trim_end(), expected, "{line} {body}");
    });
}

#[test]
fn paths() {
    check("GET /number/41", "", "200 42");
    check("GET /number/256", "", "400 \"256\" is not a valid u8");
    check("GET /number/x", "", "400 \"x\" is not a valid u8");
    check("GET /text/a%2Fb%20c%C3%BC", "", "200 a/b cü");
    check("GET /text/+", "", "200 +");
    check("GET /text/%FF", "", "400 the path is not percent-encoded UTF-8");
    check("GET /pair/a/true", "", "200 a true");
    check("GET /map/1/2", "", "200 {\"a\": \"1\", \"b\": \"2\"}");
    check("GET /point/-1/2", "", "200 -1 Some(2)");
    check("GET /colour/red", "", "200 red");
    check("GET /colour/blue", "", "404 not found");
    check("GET /colour/green", "", "400 unknown variant `green`, expected `red` or `blue`");
}

#[test]
fn queries_and_forms() {
    check("GET /query?x=1&y=2", "", "200 1 Some(2)");
    check("GET /query?x=%31&z=3&", "", "200 1 None");
    check("GET /query", "", "400 missing field `x`");
    check("GET /query?x=1&x=2", "", "400 duplicate field `x`");
    check("GET /maybe?x=1", "", "200 true");
    check("GET /maybe?x=y", "", "200 false");
    check("POST /form as application/x-www-form-urlencoded;charset=utf-8", "x=1&y=+2", "422 \" 2\" is not a valid i32");
    check("POST /form as application/X-www-form-urlencoded", "x=1&y=2", "200 1 Some(2)");
    check("POST /form", "x=1", "415 send the form with `Content-Type: application/x-www-form-urlencoded`");
    check("GET /form?x=7", "", "200 7 None");
}

#[test]
fn bodies() {
    check("POST /json as application/json", "{\"x\":1,\"y\":2}", "200 {\"x\":2,\"y\":1}");
    check("POST /json as application/vnd.api+json; charset=utf-8", "{\"x\":1}", "200 {\"x\":0,\"y\":1}");
    check("POST /json as application/json", "{\"x\":", "400 the body: EOF while parsing a value at line 1 column 5");
    check(
        "POST /json as application/json",
        "{\"x\":\"1\"}",
        "422 the body: invalid type: string \"1\", expected i32 at line 1 column 8",
    );
    check("POST /json", "{}", "415 send the body with `Content-Type: application/json`");
    check("POST /bytes", "abc", "200 POST Some(\"yes\") 3");
    check("POST /string", "ü", "200 ü");
    check("POST /stream", "abc", "200 abc");
    check("POST /request?q", "abc", "200 /request Some(\"q\") 3");
}

#[test]
fn results_and_state() {
    check("GET /count", "", "200 1");
    check("GET /name", "", "200 app");
    check("GET /refuse/0", "", "200 fine");
    check("GET /refuse/409", "", "409 refused");
    check("GET /html", "", "200 <p>");
    check("POST /see", "", "303");
    check("GET /forged", "", "500");
    check("GET /unit", "", "200");
}

#[unikernel_rt::test]
async fn state_is_shared_by_all_requests() {
    let input = "GET /count HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    let texts: Vec<_> = answers(&exchange(router(), input).await, &[]).iter().map(Answer::text).collect();
    assert_eq!(texts, ["1", "2", "3"]);
}

fn layered() -> Router {
    async fn mark(request: Request, next: Next) -> Response {
        let path = request.path().to_owned();
        let mut response = next.run(request).await;
        let marks = response.header("x-marks").map(common::lossy).unwrap_or_default();
        response.set_header("X-Marks", &format!("{marks}({path})"));
        response
    }
    async fn guard(mut request: Request, next: Next) -> Result<Response, Status> {
        let user = request.header("authorization").ok_or(Status::UNAUTHORIZED)?.to_owned();
        request.set_extension(user);
        Ok(next.run(request).await)
    }
    let user = async |Extension(user): Extension<String>| user;
    let inner = Router::new().route("/", get(user)).route("/me", get(user)).layer(from_fn(guard));
    Router::new()
        .route("/open", get(async || "open"))
        .nest("/user", inner)
        .layer(from_fn(mark))
        .layer(from_fn(async |request: Request, next: Next| next.run(request).await.with_header("X-Outer", "yes")))
        .route("/late", get(async || "late"))
}

#[unikernel_rt::test]
async fn middleware() {
    for (line, fields, status, marks) in [
        ("GET /open", "", 200, Some("(/open)")),
        ("POST /open", "", 405, Some("(/open)")),
        ("GET /nope", "", 404, Some("(/nope)")),
        ("GET /user/me", "", 401, Some("(/user/me)")),
        ("GET /user/me", "Authorization: ann\r\n", 200, Some("(/user/me)")),
        ("GET /user", "Authorization: ann\r\n", 200, Some("(/user)")),
        ("GET /user/", "Authorization: ann\r\n", 200, Some("(/user/)")),
        ("GET /user/nope", "", 401, Some("(/user/nope)")),
        ("GET /late", "", 200, None),
    ] {
        let answer = ask_of(layered(), format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!((answer.status, answer.header("x-marks")), (status, marks), "{line} {fields}");
        assert_eq!(answer.header("x-outer").is_some(), marks.is_some());
        if !fields.is_empty() {
            assert_eq!(answer.text(), "ann");
        }
    }
}

#[unikernel_rt::test]
async fn nested_routers_keep_their_fallback() {
    fn build() -> Router {
        let inner = Router::new().route("/{id}", get(async |Path(id): Path<String>| id)).fallback(async || "inner");
        Router::new().nest("/{tenant}/in", Router::new().fallback(async || "tenant")).nest("/api", inner)
    }
    for (path, expected) in
        [("/api/7", "7"), ("/api/7/8", "inner"), ("/api", "inner"), ("/x/in/y", "tenant"), ("/", "not found\n")]
    {
        let answer = ask_of(build(), format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.text(), expected, "{path}");
    }
}

#[unikernel_rt::test]
async fn headers_that_would_split_a_response_are_refused() {
    let mut response = "x".into_response();
    for (name, value) in [
        ("X-A", "b\r\nc"),
        ("X-A", "b\0"),
        ("X A", "b"),
        ("", "b"),
        ("X-A", " b"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Date", "x"),
        ("X:", "b"),
    ] {
        assert!(response.try_set_header(name, value).is_err(), "{name}: {value}");
    }
    response.set_header("content-type", "a/b");
    response.try_add_header("Set-Cookie", "a=1").unwrap();
    response.try_add_header("Set-Cookie", "b=2").unwrap();
    assert_eq!(response.header("Content-Type"), Some(&b"a/b"[..]));
    let text = common::lossy(
        &exchange(
            Router::new().route(
                "/",
                get(async || {
                    let mut response = "x".into_response();
                    response.try_add_header("Set-Cookie", "a=1").unwrap();
                    response.try_add_header("Set-Cookie", "b=2").unwrap();
                    response
                }),
            ),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await,
    );
    assert!(text.contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"), "{text}");
}

#[test]
fn mistakes_in_routes_are_found_at_the_start() {
    let cases: [fn() -> Router; 4] = [
        || Router::new().route("nope", get(async || ())),
        || Router::new().route("/a", get(async || ())).route("/a", get(async || ())),
        || Router::new().route("/{a}x", get(async || ())),
        || Router::new().nest("/a/", Router::new()),
    ];
    for case in cases {
        assert!(std::panic::catch_unwind(|| drop(case())).is_err());
    }
}
