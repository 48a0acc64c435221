//! The forms of a request target that are not a path (RFC 9112, 3.2.2 to 3.2.4).

use super::{Parsed, Refusal, Span, bad, class};
use crate::Method;

/// Called when the target does not start with `/`.
pub(super) fn resolve(input: &[u8], parsed: &mut Parsed) -> Result<(), Refusal> {
    let target = parsed.path;
    if target.of(input) == b"*" {
        return match (parsed.method, parsed.query) {
            (Method::Options, None) => Ok(()),
            _ => Err(bad("the target `*` is for OPTIONS only")),
        };
    }
    let text = target.of(input);
    let scheme_len = scheme_len(text).ok_or(bad("the request target is neither a path nor an http URL"))?;
    let authority_len = text[scheme_len..].iter().take_while(|&&byte| byte != b'/').count();
    let authority = Span::new(target.start() + scheme_len, target.start() + scheme_len + authority_len);
    // `@` is not in the class: user information is refused (RFC 9110, 4.2.4).
    if !class::all(authority.of(input), class::HOST) {
        return Err(bad("the URL in the request target has no valid host"));
    }
    parsed.authority = Some(authority);
    // `http://host` and `http://host?query` have an empty path, which stands for `/` (RFC 9110, 4.2.3). See `path`.
    parsed.path = Span::new(authority.end(), target.end());
    Ok(())
}

fn scheme_len(text: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let start = text.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    })
}
