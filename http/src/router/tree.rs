//! The paths of a router as a tree of segments. A look-up costs by the depth of the path, not by the number of routes.

use crate::{parse::Span, percent, request::Params};
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::cmp::Ordering;

/// The paths of a router.
#[derive(Default)]
pub(super) struct Tree {
    root: Node,
    /// The paths without parameters, sorted as [`Node::fixed`]: the tree would prefer them too, at every branch, but
    /// this takes one search.
    exact: Vec<(Text, usize)>,
}

/// A place in the tree: the paths that start alike.
#[derive(Default)]
struct Node {
    /// By their text; see [`search`].
    fixed: Vec<(Text, Node)>,
    param: Option<Box<Node>>,
    /// The path ends here.
    route: Option<usize>,
    /// `{*rest}`.
    rest: Option<usize>,
    /// Whatever starts like this and matches nothing else.
    fallback: Option<usize>,
}

/// Where the number of a new route goes, and the names of its parameters; or what is wrong with the path.
type Added<'a> = Result<(&'a mut Option<usize>, Rc<[Box<str>]>), &'static str>;

impl Tree {
    /// Makes a place for a route. `index` is its number, if the path is new.
    pub(super) fn add(&mut self, pattern: &str, index: usize) -> Added<'_> {
        let mut names = Vec::new();
        let mut node = &mut self.root;
        let mut segments = split(pattern)?.peekable();
        while let Some(segment) = segments.next() {
            match kind(segment)? {
                Kind::Fixed => node = node.fixed_child(segment),
                Kind::Param(name) => {
                    names.push(name.into());
                    node = node.param.get_or_insert_default();
                }
                Kind::Rest(_) if segments.peek().is_some() => return Err("`{*…}` can only be the last segment"),
                Kind::Rest(name) => {
                    names.push(name.into());
                    return Ok((&mut node.rest, check(names)?));
                }
            }
        }
        if names.is_empty()
            && let Err(place) = search(&self.exact, pattern.as_bytes())
        {
            self.exact.insert(place, (Text::new(pattern.as_bytes()), index));
        }
        Ok((&mut node.route, check(names)?))
    }

    /// Makes a place for the fallback below a path.
    pub(super) fn add_fallback(&mut self, prefix: &str) -> Added<'_> {
        let mut names = Vec::new();
        let mut node = &mut self.root;
        for segment in split(prefix)? {
            match kind(segment)? {
                Kind::Fixed => node = node.fixed_child(segment),
                Kind::Param(name) => {
                    names.push(name.into());
                    node = node.param.get_or_insert_default();
                }
                Kind::Rest(_) => return Err("nothing can be nested below `{*…}`"),
            }
        }
        Ok((&mut node.fallback, check(names)?))
    }

    /// The route for `path`; the values of its parameters are put into `values`, as places in the path.
    #[inline]
    pub(super) fn find(&self, path: &[u8], values: &mut [Span; Params::MAX]) -> Option<usize> {
        match search(&self.exact, path) {
            Ok(index) => Some(self.exact[index].1),
            Err(_) => self.root.find_from(path, 0, values, 0).or_else(|| self.root.find_fallback(path, 0, values, 0)),
        }
    }
}

/// A part of a path: what most comparisons are decided by, and the rest.
struct Text {
    key: Key,
    /// From the ninth byte on.
    rest: Box<[u8]>,
}

/// The length and the first eight bytes, as numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    len: usize,
    start: u64,
}

impl Text {
    fn new(text: &[u8]) -> Text {
        Text { key: Key::new(text), rest: text.get(8..).unwrap_or_default().into() }
    }
}

impl Key {
    #[inline(always)]
    fn new(text: &[u8]) -> Key {
        let start = match (text.first_chunk::<8>(), text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(bytes), ..) => u64::from_le_bytes(*bytes),
            // Four to seven bytes: those in the middle are there twice.
            (_, Some(first), Some(last)) => {
                u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
            }
            _ => text.iter().fold(0, |start, byte| start << 8 | *byte as u64),
        };
        Key { len: text.len(), start }
    }
}

/// Lists up to this length are searched from their start: a probe there takes three instructions.
const SHORT_LIST_LEN: usize = 8;

/// Finds text in a list that is sorted by length, then start, then the rest: most probes compare two numbers.
#[inline]
fn search<T>(list: &[(Text, T)], text: &[u8]) -> Result<usize, usize> {
    let key = Key::new(text);
    let rest = text.get(8..).unwrap_or_default();
    if list.len() <= SHORT_LIST_LEN {
        let found = list.iter().position(|(known, _)| known.key == key && compare_rest(&known.rest, rest).is_eq());
        if let Some(index) = found {
            return Ok(index);
        }
    }
    list.binary_search_by(|(known, _)| known.key.cmp(&key).then_with(|| compare_rest(&known.rest, rest)))
}

#[inline(always)]
fn compare_rest(known: &[u8], rest: &[u8]) -> Ordering {
    // Mostly there is none, and a call would cost more than the search.
    if rest.is_empty() { known.len().cmp(&0) } else { known.cmp(rest) }
}

impl Node {
    fn fixed_child(&mut self, segment: &str) -> &mut Node {
        let text = segment.as_bytes();
        let index = match search(&self.fixed, text) {
            Ok(index) => index,
            Err(index) => {
                self.fixed.insert(index, (Text::new(text), Node::default()));
                index
            }
        };
        &mut self.fixed[index].1
    }

    fn find_from(&self, path: &[u8], at: usize, values: &mut [Span; Params::MAX], count: usize) -> Option<usize> {
        if at == path.len() {
            return self.route;
        }
        let (start, end) = segment(path, at)?;
        if !self.fixed.is_empty()
            && let Some(child) = self.find_fixed(&path[start..end])
            && let Some(route) = child.find_from(path, end, values, count)
        {
            return Some(route);
        }
        if let Some(child) = &self.param
            && start < end
        {
            values[count] = Span::new(start, end);
            if let Some(route) = child.find_from(path, end, values, count + 1) {
                return Some(route);
            }
        }
        if self.rest.is_some() && start < path.len() {
            values[count] = Span::new(start, path.len());
            return self.rest;
        }
        None
    }

    /// The deepest fallback.
    fn find_fallback(&self, path: &[u8], at: usize, values: &mut [Span; Params::MAX], count: usize) -> Option<usize> {
        let Some((start, end)) = segment(path, at) else { return self.fallback };
        let fixed = self.find_fixed(&path[start..end]).and_then(|child| child.find_fallback(path, end, values, count));
        if fixed.is_some() {
            return fixed;
        }
        if let Some(child) = &self.param
            && start < end
        {
            values[count] = Span::new(start, end);
            if let Some(route) = child.find_fallback(path, end, values, count + 1) {
                return Some(route);
            }
        }
        self.fallback
    }

    #[inline]
    fn find_fixed(&self, segment: &[u8]) -> Option<&Node> {
        // No pattern has a `%`, so a segment that has one is not found before it is decoded.
        match search(&self.fixed, segment) {
            Ok(index) => Some(&self.fixed[index].1),
            Err(_) if segment.contains(&b'%') => self.find_decoded(segment),
            Err(_) => None,
        }
    }

    #[cold]
    fn find_decoded(&self, segment: &[u8]) -> Option<&Node> {
        let index = search(&self.fixed, &percent::decode(segment)?).ok()?;
        Some(&self.fixed[index].1)
    }
}

/// The segment that starts with the `/` at `at`: where its text starts and ends.
#[inline(always)]
fn segment(path: &[u8], at: usize) -> Option<(usize, usize)> {
    if path.get(at) != Some(&b'/') {
        return None;
    }
    let mut end = at + 1;
    while end < path.len() && path[end] != b'/' {
        end += 1;
    }
    Some((at + 1, end))
}

enum Kind<'a> {
    Fixed,
    Param(&'a str),
    Rest(&'a str),
}

fn split(pattern: &str) -> Result<impl Iterator<Item = &str>, &'static str> {
    Ok(pattern.strip_prefix('/').ok_or("a path starts with `/`")?.split('/'))
}

fn kind(segment: &str) -> Result<Kind<'_>, &'static str> {
    let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return match segment {
            _ if segment.contains('%') => Err("write the path decoded, without `%`"),
            _ if segment.contains(['{', '}']) => Err("a parameter is a whole segment: `/{name}/`"),
            _ => Ok(Kind::Fixed),
        };
    };
    let (name, kind): (_, fn(_) -> _) = match name.strip_prefix('*') {
        Some(name) => (name, Kind::Rest),
        None => (name, Kind::Param),
    };
    if name.is_empty() || name.contains(['{', '}', '*']) { Err("a parameter needs a name") } else { Ok(kind(name)) }
}

fn check(names: Vec<Box<str>>) -> Result<Rc<[Box<str>]>, &'static str> {
    let is_repeated = names.iter().enumerate().any(|(index, name)| names[..index].contains(name));
    match (names.len() > Params::MAX, is_repeated) {
        (true, _) => Err("there are more than 8 parameters"),
        (_, true) => Err("two parameters have the same name"),
        _ => Ok(names.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    fn find(patterns: &[&str], path: &str) -> String {
        let (mut tree, mut all_names) = (Tree::default(), Vec::new());
        for (index, pattern) in patterns.iter().enumerate() {
            let (slot, names) = match pattern.strip_suffix('!') {
                Some(prefix) => tree.add_fallback(prefix),
                None => tree.add(pattern, index),
            }
            .unwrap();
            assert!(slot.replace(index).is_none(), "{pattern} is there twice");
            all_names.push(names);
        }
        let mut values = [Span::default(); Params::MAX];
        let Some(index) = tree.find(path.as_bytes(), &mut values) else { return "none".into() };
        let params = all_names[index]
            .iter()
            .zip(values)
            .map(|(name, value)| format!(" {name}={}", core::str::from_utf8(value.of(path.as_bytes())).unwrap()));
        format!("{}{}", patterns[index], params.collect::<String>())
    }

    #[test]
    fn paths_and_their_routes() {
        let patterns = [
            "/",
            "/a",
            "/a/",
            "/a/b",
            "/a/{x}",
            "/a/{x}/c",
            "/a/{x}/d/{y}",
            "/files/{*path}",
            "/files/top",
            "/{any}",
            "/space bar",
            "/nest!",
            "/nest/in",
            "/nest/{id}/deep!",
        ];
        for (path, expected) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/b", "/a/b"),
            ("/a/q", "/a/{x} x=q"),
            // The fixed branch leads nowhere; the search goes back.
            ("/a/b/c", "/a/{x}/c x=b"),
            ("/a/q/d/r", "/a/{x}/d/{y} x=q y=r"),
            ("/a/q/d/", "none"),
            ("/a/q/e", "none"),
            ("/files/x/y", "/files/{*path} path=x/y"),
            ("/files/top", "/files/top"),
            ("/files/top/x", "/files/{*path} path=top/x"),
            ("/files/", "none"),
            ("/files", "/{any} any=files"),
            ("/space%20bar", "/space bar"),
            ("/%61", "/a"),
            ("/%61/b", "/a/b"),
            ("/b%2fc", "/{any} any=b%2fc"),
            ("/nest", "/{any} any=nest"),
            ("/nest/", "/nest!"),
            ("/nest/x/y", "/nest!"),
            ("/nest/in", "/nest/in"),
            ("/nest/7/deep/x", "/nest/{id}/deep! id=7"),
            ("//", "none"),
            ("*", "none"),
            ("", "none"),
        ] {
            assert_eq!(find(&patterns, path), expected, "{path}");
        }
    }

    #[test]
    fn misspelled_paths_say_what_is_wrong() {
        for (pattern, expected) in [
            ("a", "a path starts with `/`"),
            ("", "a path starts with `/`"),
            ("/x{a}", "a parameter is a whole segment: `/{name}/`"),
            ("/{a", "a parameter is a whole segment: `/{name}/`"),
            ("/a%20b", "write the path decoded, without `%`"),
            ("/{}", "a parameter needs a name"),
            ("/{*}", "a parameter needs a name"),
            ("/{*a}/b", "`{*…}` can only be the last segment"),
            ("/{a}/{a}", "two parameters have the same name"),
            ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "there are more than 8 parameters"),
        ] {
            assert_eq!(Tree::default().add(pattern, 0).err(), Some(expected), "{pattern}");
        }
    }
}
