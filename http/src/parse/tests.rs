//! A deterministic fuzzer: heads that are nearly right, held against a slow checker that shares no code with the
//! parser, and parsed with every possible end.

use super::*;
use alloc::vec;
use std::{format, println, string::String, vec::Vec};

const CORPUS: [&[u8]; 12] = [
    b"GET /hello HTTP/1.1\r\nHost: 10.77.0.2\r\n\r\n",
    b"\r\nGET /a/b%20c?d=e&f HTTP/1.1\r\nhost:a:80\r\nAccept: */*\r\nX-Empty:\r\nX: \ta\tb \r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: keep-alive, close\r\n\r\nabc",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\n",
    b"HEAD http://host:80/path?q HTTP/1.1\r\nHost: other\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
    b"DELETE /x HTTP/1.1\r\nHost: [::1]\r\nCookie: a=b; c=\xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PATCH / HTTP/2.0\r\nHost: a\r\n folded\r\n\r\n",
    b"BREW /pot HTTP/1.1\r\nHost : a\nX\0: y\r\n\r\n",
];

/// What mutations put in: bytes and words that parsers have stumbled over.
const WORDS: [&[u8]; 22] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"%",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"?",
    b"*",
    b"@",
    b"\"",
];

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len() + 1);
    match random.below(6) {
        0 if at < input.len() => input[at] = random.below(256) as u8,
        1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 => {
            let end = input.len().min(at + random.below(8));
            input.drain(at..end);
        }
        3 => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        4 => {
            let other = CORPUS[random.below(CORPUS.len())];
            let (start, len) = (random.below(other.len()), random.below(40));
            let piece = &other[start..other.len().min(start + len)];
            input.splice(at..at, piece.iter().copied());
        }
        _ => {
            let end = input.len().min(at + random.below(30));
            let piece = input[at..end].to_vec();
            input.extend(piece);
        }
    }
}

fn limits() -> Limits {
    Limits { head_len_max: 200, uri_len_max: 60, fields_max: 6, ..Limits::default() }
}

/// `None` for an incomplete head; the rest is what has to be the same for every end of the input.
fn verdict(input: &[u8]) -> Option<Result<String, Status>> {
    let mut parsed = Parsed::default();
    match parse(input, &mut parsed, &limits()) {
        Ok(false) => None,
        Ok(true) => {
            let fields: Vec<_> = parsed.fields.iter().map(|field| (field.name, field.value)).collect();
            let Parsed { method, path, query, len, framing, .. } = parsed;
            Some(Ok(format!("{method} {path:?} {query:?} {len} {fields:?} {framing:?}")))
        }
        Err(refusal) => Some(Err(refusal.status)),
    }
}

#[test]
fn mutated_heads() {
    let mut random = Random(0x5eed);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..40_000 {
        let mut input = CORPUS[round % CORPUS.len()].to_vec();
        for _ in 0..random.below(4) {
            mutate(&mut random, &mut input);
        }
        let whole = verdict(&input);
        match &whole {
            Some(Ok(_)) => accepted += 1,
            Some(Err(_)) => refused += 1,
            None => {}
        }
        let first = (0..=input.len()).find_map(|end| verdict(&input[..end]).map(|verdict| (end, verdict)));
        assert_eq!(first.as_ref().map(|(_, verdict)| verdict), whole.as_ref(), "{}", input.escape_ascii());
        if let Some((end, Ok(_))) = first {
            assert_eq!(strict(&input[..end]), Ok(()), "{}", input.escape_ascii());
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 5_000 && refused > 5_000, "the mutations reach both sides");
}

/// RFC 9112, written down once more, as plainly as possible.
fn strict(head: &[u8]) -> Result<(), &'static str> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let text: String = head.iter().map(|&byte| byte as char).collect();
    let body = text.strip_suffix("\r\n\r\n").ok_or("the end is no empty line")?;
    let mut lines = body.split("\r\n");
    let request: Vec<&str> = lines.next().ok_or("there is no request line")?.split(' ').collect();
    let [method, target, version] = request[..] else { return Err("the request line has not three parts") };
    if Method::ALL.iter().all(|known| known.as_str() != method) {
        return Err("the method is unknown");
    }
    if target.is_empty() || !target.chars().all(|letter| letter.is_ascii_graphic() && !"\"#<>".contains(letter)) {
        return Err("the target is wrong");
    }
    if !target.starts_with('/') && target != "*" && !target.to_lowercase().starts_with("http") {
        return Err("the target has an unknown form");
    }
    let minor = version.strip_prefix("HTTP/1.").ok_or("the version is wrong")?;
    if minor.len() != 1 || !minor.chars().all(|letter| letter.is_ascii_digit()) {
        return Err("the minor version is wrong");
    }
    let mut seen = vec![];
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a line has no colon")?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)) {
            return Err("a name is no token");
        }
        if value.chars().any(|letter| letter != '\t' && (letter < ' ' || letter == '\x7f')) {
            return Err("a value has a control character");
        }
        seen.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])));
    }
    let values = |name: &str| seen.iter().filter(|field| field.0 == name).map(|field| field.1).collect::<Vec<_>>();
    let (hosts, lengths, codings) = (values("host"), values("content-length"), values("transfer-encoding"));
    if hosts.len() > 1 || (hosts.is_empty() && minor != "0") || hosts.iter().any(|host| host.contains(['@', ' ', '/']))
    {
        return Err("Host is wrong");
    }
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) if !length.is_empty() && length.chars().all(|letter| letter.is_ascii_digit()) => {}
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && minor != "0" => {}
        _ => return Err("the length is not clear"),
    }
    Ok(())
}
