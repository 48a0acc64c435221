//! A strict reader of RFC 5424 messages and of octet counting (RFC 6587), after the grammar in section 6. It shares no code
//! with what writes them.

/// A message taken apart. `None` stands for `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub pri: u8,
    pub time: Option<String>,
    pub hostname: Option<String>,
    pub app_name: Option<String>,
    pub proc_id: Option<String>,
    pub msg_id: Option<String>,
    pub data: Vec<(String, Vec<(String, String)>)>,
    pub text: String,
}

impl Parsed {
    /// A parameter of the structured data.
    pub fn param(&self, id: &str, name: &str) -> Option<&str> {
        let (_, params) = self.data.iter().find(|(element, _)| element == id)?;
        params.iter().find(|(param, _)| param == name).map(|(_, value)| &**value)
    }

    /// Its number (RFC 5424, 7.3.1).
    pub fn sequence(&self) -> u64 {
        self.param("meta", "sequenceId").expect("has a number").parse().expect("is a number")
    }
}

/// Reads one message.
pub fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let rest = text.strip_prefix('<').ok_or("has no <")?;
    let (pri, rest) = rest.split_once('>').ok_or("has no >")?;
    let pri = number(pri).filter(|pri| *pri <= 191).ok_or(format!("has PRI {pri}"))? as u8;
    let rest = rest.strip_prefix("1 ").ok_or("is not version 1")?;
    let (time, rest) = field(rest, 64)?;
    time.as_deref().map_or(Ok(()), check_time)?;
    let (hostname, rest) = field(rest, 255)?;
    let (app_name, rest) = field(rest, 48)?;
    let (proc_id, rest) = field(rest, 128)?;
    let (msg_id, rest) = field(rest, 32)?;
    let (data, rest) = data(rest)?;
    let text = match rest {
        "" => "",
        _ => rest.strip_prefix(" \u{feff}").ok_or(format!("has no BOM before its text: {rest:?}"))?,
    };
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("has {c:?} in its text")),
        None => Ok(Parsed { pri, time, hostname, app_name, proc_id, msg_id, data, text: text.into() }),
    }
}

/// Without leading zeroes.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn field(text: &str, len_max: usize) -> Result<(Option<String>, &str), String> {
    let (field, rest) = text.split_once(' ').ok_or(format!("ends in its header: {text:?}"))?;
    let fits = (1..=len_max).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_graphic());
    match field {
        _ if !fits => Err(format!("has the field {field:?}")),
        "-" => Ok((None, rest)),
        field => Ok((Some(field.into()), rest)),
    }
}

/// `2026-01-01T00:00:00.000000Z`, with an hour, a minute and a second that exist.
fn check_time(time: &str) -> Result<(), String> {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let part = |range: std::ops::Range<usize>| time[range].parse::<u32>().unwrap_or(u32::MAX);
    let good = shape == "0000-00-00T00:00:00.000000Z"
        && (1..=12).contains(&part(5..7))
        && (1..=31).contains(&part(8..10))
        && part(11..13) < 24
        && part(14..16) < 60
        && part(17..19) < 60;
    if good { Ok(()) } else { Err(format!("has the time {time:?}")) }
}

type Data = Vec<(String, Vec<(String, String)>)>;

fn data(text: &str) -> Result<(Data, &str), String> {
    if let Some(rest) = text.strip_prefix('-') {
        return Ok((Vec::new(), rest));
    }
    let (mut elements, mut rest) = (Vec::new(), text);
    while let Some(inside) = rest.strip_prefix('[') {
        let (id, mut inside) = name(inside)?;
        let mut params = Vec::new();
        while let Some(param) = inside.strip_prefix(' ') {
            let (key, after) = name(param)?;
            let (value, after) = value(after.strip_prefix("=\"").ok_or("has a parameter without a value")?)?;
            params.push((key, value));
            inside = after;
        }
        rest = inside.strip_prefix(']').ok_or(format!("has an element that does not end: {inside:?}"))?;
        elements.push((id, params));
    }
    if elements.is_empty() { Err(format!("has no structured data: {text:?}")) } else { Ok((elements, rest)) }
}

fn name(text: &str) -> Result<(String, &str), String> {
    let ends = |c: char| !c.is_ascii_graphic() || matches!(c, '=' | ']' | '"');
    let (name, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    if (1..=32).contains(&name.len()) { Ok((name.into(), rest)) } else { Err(format!("has the name {name:?}")) }
}

fn value(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            ']' => return Err("has a bracket without a backslash".into()),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\' | ']'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("has a value that does not end".into())
}

/// The messages at the beginning of `bytes`, each after its length, and how many bytes they are.
pub fn split_frames(bytes: &[u8]) -> Result<(Vec<Parsed>, usize), String> {
    let (mut messages, mut from) = (Vec::new(), 0);
    while let Some(space) = bytes[from..].iter().position(|byte| *byte == b' ') {
        let text = std::str::from_utf8(&bytes[from..from + space]).unwrap_or("?");
        let len = number(text).filter(|len| *len > 0).ok_or(format!("has the length {text:?}"))? as usize;
        let Some(message) = bytes.get(from + space + 1..from + space + 1 + len) else { break };
        messages.push(parse(message)?);
        from += space + 1 + len;
    }
    Ok((messages, from))
}
