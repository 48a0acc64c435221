//! What stands in the request target.

use super::{
    FromRequestParts,
    value::{Misfit, Value, from_pairs},
};
use crate::{Request, Response, Status, percent, request::Params};
use serde::{
    de::{
        DeserializeOwned, Deserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

/// The parameters of the route's path, decoded and parsed: one value, a tuple in the order of the path, or a struct
/// or map by their names. Refuses what does not parse with 400.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Path, Router, Status, get};
///
/// async fn product(Path((a, b)): Path<(u32, u32)>) -> String { format!("{}", a * b) }
///
/// let router: Router = Router::new().route("/product/{a}/{b}", get(product));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/product/6/7").send().await?.text().await?, "42");
/// assert_eq!(client.get("http://10.0.0.2/product/6/x").send().await?.status(), Status::BAD_REQUEST);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(
    /// The parameters.
    pub T,
);

impl<S, T: DeserializeOwned> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    fn from_request_parts(request: &Request, _: &S) -> Result<Path<T>, Response> {
        let source = PathParams { request, params: request.params() };
        T::deserialize(source).map(Path).map_err(|error| error.refusal(Status::BAD_REQUEST))
    }
}

/// The query, parsed into a struct or map. Refuses what is missing or does not parse with 400.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use serde::Deserialize;
/// use unikernel_http::{Query, Router, get};
///
/// #[derive(Deserialize)]
/// struct Search { q: String, page: Option<u32> }
///
/// async fn search(Query(search): Query<Search>) -> String {
///     format!("{}, page {}", search.q, search.page.unwrap_or(1))
/// }
///
/// let router: Router = Router::new().route("/search", get(search));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/search?q=two+words&page=3").send().await?.text().await?, "two words, page 3");
/// assert_eq!(client.get("http://10.0.0.2/search?q=x").send().await?.text().await?, "x, page 1");
/// assert_eq!(client.get("http://10.0.0.2/search").send().await?.status().code(), 400);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(
    /// The fields.
    pub T,
);

impl<S, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    fn from_request_parts(request: &Request, _: &S) -> Result<Query<T>, Response> {
        let query = request.query().unwrap_or("").as_bytes();
        from_pairs(query).map(Query).map_err(|error| error.refusal(Status::BAD_REQUEST))
    }
}

/// The parameters of a request's path, as a serde source.
struct PathParams<'a> {
    request: &'a Request,
    params: Option<&'a Params>,
}

impl<'a> PathParams<'a> {
    fn pairs(self) -> Result<impl Iterator<Item = (&'a str, Value<'a>)>, Misfit> {
        let params = self.params.ok_or_else(|| misfit("the route has no parameters"))?;
        let decoded = |index| percent::decode_str(self.request.head.bytes(params.values[index]));
        if (0..params.names.len()).any(|index| decoded(index).is_none()) {
            return Err(misfit("the path is not percent-encoded UTF-8"));
        }
        let all = params.names.iter().enumerate();
        Ok(all.filter_map(move |(index, name)| Some((&**name, Value(decoded(index)?)))))
    }

    fn only(self) -> Result<Value<'a>, Misfit> {
        let mut pairs = self.pairs()?;
        match (pairs.next(), pairs.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(misfit("the route has several parameters; take them as a tuple or struct")),
        }
    }
}

fn misfit(message: &str) -> Misfit {
    serde::de::Error::custom(message)
}

macro_rules! of_only {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for PathParams<'de> {
    type Error = Misfit;

    of_only! {
        deserialize_any deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8
        deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64 deserialize_char deserialize_option
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_seq(SeqDeserializer::new(self.pairs()?.map(|(_, value)| value)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(MapDeserializer::new(self.pairs()?))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct identifier ignored_any i128 u128
    }
}
