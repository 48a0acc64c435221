//! Handlers: async functions whose arguments are [extractors](crate::extract) and whose result is a response.

use crate::{
    IntoResponse, Request, Response,
    extract::{FromRequest, FromRequestParts},
};
use alloc::{boxed::Box, rc::Rc};
use core::{future::Future, pin::Pin};

/// The answer of a handler: there already, or on its way.
///
/// For a [`Handler`] that is written by hand:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Handler, IntoResponse, Reply, Request, Router, Status, any};
///
/// /// Answers everything with 503.
/// struct Closed;
///
/// impl<S> Handler<Closed, S> for Closed {
///     fn call(&self, _: Request, _: &S) -> Reply {
///         Reply::Now((Status::SERVICE_UNAVAILABLE, "back at nine\n").into_response())
///     }
/// }
///
/// let router: Router = Router::new().route("/", any(Closed));
#[doc = include_str!("served.md")]
/// let answer = client.get("http://10.0.0.2/").send().await?;
/// assert_eq!((answer.status().code(), answer.text().await?.as_str()), (503, "back at nine\n"));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub enum Reply {
    /// The response.
    Now(Response),
    /// Will be the response.
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Reply {
    /// The response, as soon as it is there.
    pub async fn response(self) -> Response {
        match self {
            Reply::Now(response) => response,
            Reply::Later(future) => future.await,
        }
    }
}

/// What answers requests: an async function with up to eight arguments, or a [`ServeDir`](crate::ServeDir).
///
/// Every argument implements [`FromRequestParts`], the last one may implement [`FromRequest`], and the result
/// implements [`IntoResponse`]. `Args` tells the forms apart; it is never written out.
/// See [`Router`](crate::Router) for an example, and [`Reply`] for one that is no function.
pub trait Handler<Args, S>: 'static {
    /// Starts to answer.
    fn call(&self, request: Request, state: &S) -> Reply;
}

impl<F, Fut, S> Handler<(), S> for F
where
    F: Fn() -> Fut + 'static,
    Fut: Future<Output: IntoResponse> + 'static,
{
    fn call(&self, _: Request, _: &S) -> Reply {
        let answer = self();
        Reply::Later(Box::pin(async move { answer.await.into_response() }))
    }
}

macro_rules! handler {
    ($($parts:ident)*; $last:ident) => {
        #[allow(non_snake_case)]
        impl<F, Fut, S, Via, $($parts,)* $last> Handler<(Via, $($parts,)* $last), S> for F
        where
            F: Fn($($parts,)* $last) -> Fut + Clone + 'static,
            Fut: Future<Output: IntoResponse> + 'static,
            S: Clone + 'static,
            $($parts: FromRequestParts<S>,)*
            $last: FromRequest<S, Via>,
        {
            fn call(&self, request: Request, state: &S) -> Reply {
                let (handler, state) = (self.clone(), state.clone());
                Reply::Later(Box::pin(async move {
                    $(let $parts = match $parts::from_request_parts(&request, &state) {
                        Ok(value) => value,
                        Err(rejection) => return rejection.into_response(),
                    };)*
                    match $last::from_request(request, &state).await {
                        Ok($last) => handler($($parts,)* $last).await.into_response(),
                        Err(rejection) => rejection.into_response(),
                    }
                }))
            }
        }
    };
}

handler!(; T1);
handler!(T1; T2);
handler!(T1 T2; T3);
handler!(T1 T2 T3; T4);
handler!(T1 T2 T3 T4; T5);
handler!(T1 T2 T3 T4 T5; T6);
handler!(T1 T2 T3 T4 T5 T6; T7);
handler!(T1 T2 T3 T4 T5 T6 T7; T8);

/// A handler whose form is forgotten.
pub(crate) trait Endpoint<S> {
    fn call(&self, request: Request, state: &S) -> Reply;
}

pub(crate) type SharedEndpoint<S> = Rc<dyn Endpoint<S>>;

struct Erased<H, Args>(H, core::marker::PhantomData<Args>);

impl<H: Handler<Args, S>, Args, S> Endpoint<S> for Erased<H, Args> {
    fn call(&self, request: Request, state: &S) -> Reply {
        self.0.call(request, state)
    }
}

pub(crate) fn erase<H: Handler<Args, S>, Args: 'static, S: 'static>(handler: H) -> SharedEndpoint<S> {
    Rc::new(Erased(handler, core::marker::PhantomData))
}
