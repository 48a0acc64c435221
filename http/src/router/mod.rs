//! [`Router`]: which handler answers which path and method.

mod layer;
mod methods;
mod tree;

use crate::{
    Handler, Method, Request, Response, Status,
    handler::{Endpoint, Reply, SharedEndpoint, erase},
    parse::Span,
    percent,
    request::Params,
    response::not_found,
};
use alloc::{boxed::Box, format, rc::Rc, string::String, vec::Vec};
pub use layer::{Middleware, Next, from_fn};
pub(crate) use methods::allow;
pub use methods::{MethodRouter, any, delete, get, patch, post, put};
use tree::Tree;

/// Routes to handlers.
///
/// A path is a list of segments: fixed text, `{name}` (one segment that is not empty) or, at the end, `{*name}`
/// (what is left, not empty). Fixed text goes before `{name}`, that before `{*name}`; the order of the routes does
/// not matter. Fixed text is compared with the percent-decoded path. `/a` and `/a/` are two paths.
///
/// `S` is the state that its handlers still lack; what is served is a `Router<()>`, see
/// [`with_state`](Router::with_state).
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Path, Router, get};
///
/// async fn hello() -> &'static str { "hello" }
/// async fn greet(Path(name): Path<String>) -> String { format!("hello, {name}") }
///
/// let router: Router = Router::new().route("/", get(hello)).route("/hello/{name}", get(greet));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/hello/Ada").send().await?.text().await?, "hello, Ada");
/// assert_eq!(client.get("http://10.0.0.2/bye").send().await?.status().code(), 404);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Router<S = ()> {
    tree: Tree,
    routes: Vec<Route<S>>,
    fallback: Option<SharedEndpoint<S>>,
}

/// A place in the tree: routes below a path, the fallback of a nested router included.
struct Route<S> {
    pattern: String,
    names: Rc<[Box<str>]>,
    /// How many segments belong to the enclosing routers.
    mount: u8,
    is_fallback: bool,
    methods: MethodRouter<S>,
}

impl<S: Clone + 'static> Default for Router<S> {
    fn default() -> Router<S> {
        Router::new()
    }
}

impl<S: Clone + 'static> Router<S> {
    /// A router that answers everything with 404.
    pub fn new() -> Router<S> {
        Router { tree: Tree::default(), routes: Vec::new(), fallback: None }
    }

    /// Adds a route. Methods of several calls with one path come together.
    ///
    /// # Panics
    ///
    /// The path does not start with `/` or is misspelled, or the same path and method is routed twice.
    pub fn route(mut self, path: &str, methods: impl Into<MethodRouter<S>>) -> Router<S> {
        self.add(String::from(path), 0, false, methods.into());
        self
    }

    /// Adds the routes of `router` below `prefix`, its fallback and layers included. Its `/` is `prefix` itself, with
    /// and without a slash at the end.
    ///
    /// # Panics
    ///
    /// `prefix` ends with `/`, or as [`route`](Self::route).
    pub fn nest(mut self, prefix: &str, router: Router<S>) -> Router<S> {
        assert!(!prefix.ends_with('/'), "the prefix {prefix:?} of a nested router must not end with `/`");
        let segments = prefix.matches('/').count() as u8;
        for route in router.routes {
            if route.pattern == "/" && !route.is_fallback {
                self.add(String::from(prefix), segments, false, route.methods.clone());
            }
            self.add(format!("{prefix}{}", route.pattern), segments + route.mount, route.is_fallback, route.methods);
        }
        if let Some(fallback) = router.fallback {
            self.add(String::from(prefix), segments, true, MethodRouter::of_all(fallback));
        }
        self
    }

    /// Adds the routes of `router` beside those that are there; its fallback is used if this one has none.
    ///
    /// # Panics
    ///
    /// As [`route`](Self::route).
    pub fn merge(mut self, router: Router<S>) -> Router<S> {
        for route in router.routes {
            self.add(route.pattern, route.mount, route.is_fallback, route.methods);
        }
        self.fallback = self.fallback.or(router.fallback);
        self
    }

    /// What answers when no route fits the path.
    pub fn fallback<H: Handler<Args, S>, Args: 'static>(mut self, handler: H) -> Router<S> {
        self.fallback = Some(erase(handler));
        self
    }

    /// Gives the handlers their state. See [`State`](crate::State) for an example.
    pub fn with_state<T>(self, state: S) -> Router<T> {
        self.map(&|inner| Rc::new(Bound { inner, state: state.clone() }))
    }

    fn map<T>(self, change: &dyn Fn(SharedEndpoint<S>) -> SharedEndpoint<T>) -> Router<T> {
        let routes = self.routes.into_iter().map(|route| Route {
            pattern: route.pattern,
            names: route.names,
            mount: route.mount,
            is_fallback: route.is_fallback,
            methods: route.methods.map(change),
        });
        Router { tree: self.tree, routes: routes.collect(), fallback: self.fallback.map(change) }
    }

    fn add(&mut self, pattern: String, mount: u8, is_fallback: bool, methods: MethodRouter<S>) {
        let index = self.routes.len();
        let (slot, names) = match is_fallback {
            true => self.tree.add_fallback(&pattern),
            false => self.tree.add(&pattern, index),
        }
        .unwrap_or_else(|problem| panic!("the route {pattern:?}: {problem}"));
        match slot {
            Some(known) => {
                let known: &mut Route<S> = &mut self.routes[*known];
                known.methods.merge(methods).unwrap_or_else(|| panic!("the route {pattern:?} is there twice"));
            }
            none => {
                *none = Some(index);
                self.routes.push(Route { pattern, names, mount, is_fallback, methods });
            }
        }
    }
}

impl Router {
    /// What the routes are called in metrics, in their order.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = String> {
        self.routes.iter().map(|route| match route.is_fallback {
            true => format!("{}/{{*}}", route.pattern),
            false => route.pattern.clone(),
        })
    }

    /// Starts to answer a request. `number` becomes that of its route; the number after the last route is the fallback.
    pub(crate) fn call(&self, mut request: Request, number: &mut usize) -> Reply {
        let mut values = [Span::default(); Params::MAX];
        *number = self.routes.len();
        match self.tree.find(request.head.path(), &mut values) {
            Some(index) => {
                *number = index;
                let route = &self.routes[index];
                request.mount = route.mount;
                if !route.names.is_empty() {
                    let start = request.head.parsed.path.start();
                    let values = values.map(|value| Span::new(start + value.start(), start + value.end()));
                    request.set_params(Params { names: route.names.clone(), values });
                }
                route.methods.call(request, &())
            }
            None => self.call_fallback(request),
        }
    }

    fn call_fallback(&self, request: Request) -> Reply {
        let path = request.head.path();
        if path == b"*" {
            return Reply::Now(server_options());
        }
        if percent::decode(path).is_none() {
            return Reply::Now(Response::text(Status::BAD_REQUEST, "the path has a `%` without two digits\n"));
        }
        match &self.fallback {
            Some(fallback) => fallback.call(request, &()),
            None => Reply::Now(not_found()),
        }
    }
}

/// `OPTIONS *` asks about the server, not about a resource (RFC 9110, 9.3.7).
fn server_options() -> Response {
    methods::allow(Status::NO_CONTENT, Method::ALL.into_iter().filter(|method| *method != Method::Trace))
}

/// An endpoint with its state.
struct Bound<S> {
    inner: SharedEndpoint<S>,
    state: S,
}

impl<S, T> Endpoint<T> for Bound<S> {
    fn call(&self, request: Request, _: &T) -> Reply {
        self.inner.call(request, &self.state)
    }
}
