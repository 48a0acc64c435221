//! The handlers of one path, by method.

use super::layer::Layer;
use crate::{
    Body, Handler, Method, Request, Response, Status,
    handler::{Endpoint, Reply, SharedEndpoint, erase},
};
use alloc::{rc::Rc, string::String};
use core::cell::Cell;

/// The handlers of one path, by method: `get(read).put(write)`.
///
/// `HEAD` is answered by the handler of `GET`, `OPTIONS` with the methods that are there, and any other method with
/// 405, unless there is a handler for it.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Router, Status, get};
///
/// async fn read() -> &'static str { "it is here" }
/// async fn write(text: String) -> Status { if text.is_empty() { Status::BAD_REQUEST } else { Status::NO_CONTENT } }
///
/// let router: Router = Router::new().route("/note", get(read).put(write));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.put("http://10.0.0.2/note").body("news").send().await?.status(), Status::NO_CONTENT);
/// let refused = client.delete("http://10.0.0.2/note").send().await?;
/// assert_eq!(refused.status(), Status::METHOD_NOT_ALLOWED);
/// assert_eq!(refused.header("Allow"), Some("GET, HEAD, PUT, OPTIONS"));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct MethodRouter<S = ()> {
    by_method: [Option<SharedEndpoint<S>>; Method::COUNT],
    any: Option<SharedEndpoint<S>>,
    /// Answers when there is no handler, if layers have to see that too.
    otherwise: Option<SharedEndpoint<S>>,
    allowed: Rc<Cell<Allowed>>,
}

/// A bit for each method that has a handler.
#[derive(Clone, Copy, Default)]
struct Allowed(u8);

impl<S> Clone for MethodRouter<S> {
    fn clone(&self) -> MethodRouter<S> {
        MethodRouter {
            by_method: self.by_method.clone(),
            any: self.any.clone(),
            otherwise: self.otherwise.clone(),
            allowed: self.allowed.clone(),
        }
    }
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {
        impl<S: 'static> MethodRouter<S> {
            $(#[doc = concat!("Adds the handler of `", stringify!($method), "`. Panics when there is one.")]
            pub fn $name<H: Handler<Args, S>, Args: 'static>(self, handler: H) -> MethodRouter<S> {
                self.on(Method::$method, handler)
            })*
        }

        $(#[doc = concat!("A route whose handler answers `", stringify!($method), "`.")]
        pub fn $name<H: Handler<Args, S>, Args: 'static, S: 'static>(handler: H) -> MethodRouter<S> {
            MethodRouter::new().on(Method::$method, handler)
        })*
    };
}

methods!(get Get post Post put Put delete Delete patch Patch);

/// A route whose handler answers every method.
pub fn any<H: Handler<Args, S>, Args: 'static, S: 'static>(handler: H) -> MethodRouter<S> {
    MethodRouter::of_all(erase(handler))
}

impl<S: 'static> Default for MethodRouter<S> {
    fn default() -> MethodRouter<S> {
        MethodRouter::new()
    }
}

impl<S: 'static> MethodRouter<S> {
    /// A route without handlers.
    pub fn new() -> MethodRouter<S> {
        MethodRouter { by_method: Default::default(), any: None, otherwise: None, allowed: Rc::default() }
    }

    /// Adds the handler of a method.
    ///
    /// # Panics
    ///
    /// There is one already.
    pub fn on<H: Handler<Args, S>, Args: 'static>(mut self, method: Method, handler: H) -> MethodRouter<S> {
        let slot = &mut self.by_method[method as usize];
        assert!(slot.is_none(), "a route has two handlers for {method}");
        *slot = Some(erase(handler));
        self.allowed.set(Allowed(self.allowed.get().0 | 1 << method as u8));
        self
    }

    pub(super) fn of_all(endpoint: SharedEndpoint<S>) -> MethodRouter<S> {
        MethodRouter { any: Some(endpoint), ..MethodRouter::new() }
    }

    /// Adds the handlers of `other`. `None` when both have one for the same method.
    pub(super) fn merge(&mut self, other: MethodRouter<S>) -> Option<()> {
        if self.allowed.get().0 & other.allowed.get().0 != 0 || (self.any.is_some() && other.any.is_some()) {
            return None;
        }
        for (slot, endpoint) in self.by_method.iter_mut().zip(other.by_method) {
            *slot = slot.take().or(endpoint);
        }
        self.any = self.any.take().or(other.any);
        self.otherwise = self.otherwise.take().or(other.otherwise);
        self.allowed.set(Allowed(self.allowed.get().0 | other.allowed.get().0));
        Some(())
    }
}

impl<S> MethodRouter<S> {
    pub(super) fn map<T>(self, change: &dyn Fn(SharedEndpoint<S>) -> SharedEndpoint<T>) -> MethodRouter<T> {
        MethodRouter {
            by_method: self.by_method.map(|endpoint| endpoint.map(change)),
            any: self.any.map(change),
            otherwise: self.otherwise.map(change),
            allowed: self.allowed,
        }
    }
}

impl<S: Clone + 'static> MethodRouter<S> {
    /// Puts `layer` around every handler, and around the answers to methods without one.
    pub(super) fn layered(mut self, layer: &Rc<dyn Layer<S>>) -> MethodRouter<S> {
        if self.any.is_none() && self.otherwise.is_none() {
            self.otherwise = Some(Rc::new(NotAllowed(self.allowed.clone())));
        }
        self.map(&|endpoint| super::layer::wrap(endpoint, layer.clone()))
    }

    /// Starts to answer.
    pub(super) fn call(&self, request: Request, state: &S) -> Reply {
        let method = request.method();
        let endpoint = match &self.by_method[method as usize] {
            None if method == Method::Head => self.by_method[Method::Get as usize].as_ref(),
            endpoint => endpoint.as_ref(),
        };
        match endpoint.or(self.any.as_ref()).or(self.otherwise.as_ref()) {
            Some(endpoint) => endpoint.call(request, state),
            None => Reply::Now(self.allowed.get().answer(method)),
        }
    }
}

struct NotAllowed(Rc<Cell<Allowed>>);

impl<S> Endpoint<S> for NotAllowed {
    fn call(&self, request: Request, _: &S) -> Reply {
        Reply::Now(self.0.get().answer(request.method()))
    }
}

impl Allowed {
    /// RFC 9110, 9.3.7 and 15.5.6.
    fn answer(self, method: Method) -> Response {
        let status = if method == Method::Options { Status::NO_CONTENT } else { Status::METHOD_NOT_ALLOWED };
        allow(status, Method::ALL.into_iter().filter(|method| self.contains(*method)))
    }

    fn contains(self, method: Method) -> bool {
        match method {
            Method::Options => true,
            Method::Head => self.0 & (1 << Method::Get as u8 | 1 << Method::Head as u8) != 0,
            method => self.0 & 1 << method as u8 != 0,
        }
    }
}

/// A response with the `Allow` field.
pub(crate) fn allow(status: Status, methods: impl Iterator<Item = Method>) -> Response {
    let mut list = String::new();
    for method in methods {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(method.as_str());
    }
    Response::new(status, Body::empty()).with_header("Allow", &list)
}
