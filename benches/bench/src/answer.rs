//! Follows an HTTP answer through the pieces in which it arrives.

/// The answer on a connection, as far as it has come. Ready for the next one once complete.
#[derive(Default)]
pub struct Answer {
    /// The head while its end has not arrived yet; empty in the usual case of one piece.
    head: Vec<u8>,
    /// Body bytes that came and that will have come, once the head is known.
    body: Option<(usize, usize)>,
}

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More has to come.
    Partial,
    /// All is there, with a body of so many bytes.
    Complete(usize),
}

/// Heads beyond this are taken for garbage.
const HEAD_LEN_MAX: usize = 16 * 1024;

impl Answer {
    /// Takes the next bytes. Fails on anything but an answer with status 200 and Content-Length,
    /// and on bytes after its end, since no client here asks ahead.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, String> {
        let Some((came, len)) = self.body else { return self.take_head(bytes) };
        self.take_body(came + bytes.len(), len)
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<Progress, String> {
        self.head.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
            if self.head.len() > HEAD_LEN_MAX {
                return Err("a head without end".into());
            }
            return Ok(Progress::Partial);
        };
        let len = body_len(&self.head[..end])?;
        let came = self.head.len() - end - 4;
        self.head.clear();
        self.take_body(came, len)
    }

    fn take_body(&mut self, came: usize, len: usize) -> Result<Progress, String> {
        if came > len {
            return Err(format!("{} bytes after its end", came - len));
        }
        self.body = (came < len).then_some((came, len));
        Ok(if came < len { Progress::Partial } else { Progress::Complete(len) })
    }
}

/// The Content-Length of an answer with status 200.
fn body_len(head: &[u8]) -> Result<usize, String> {
    let refused = || String::from_utf8_lossy(head).into_owned();
    if !(head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200")) {
        return Err(refused());
    }
    head.split(|&byte| byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(b"content-length:".len())?;
            let value = name.eq_ignore_ascii_case(b"content-length:").then_some(value)?;
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        })
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], want: Result<usize, &str>) {
        let mut answer = Answer::default();
        let mut last = Ok(Progress::Partial);
        for piece in pieces {
            assert_eq!(last, Ok(Progress::Partial));
            last = answer.take(piece.as_bytes());
        }
        assert_eq!(last, want.map(Progress::Complete).map_err(str::to_owned));
    }

    #[test]
    fn in_one_piece() {
        check(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"], Ok(2));
    }

    #[test]
    fn in_three_pieces() {
        check(&["HTTP/1.1 200 OK\r\ncontent-length: ", "2\r\n\r\nh", "i"], Ok(2));
    }

    #[test]
    fn without_a_body() {
        check(&["HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n"], Ok(0));
    }

    #[test]
    fn too_much() {
        check(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!"], Err("1 bytes after its end"));
    }

    #[test]
    fn another_status() {
        check(&["HTTP/1.1 404 Not Found\r\n\r\n"], Err("HTTP/1.1 404 Not Found"));
    }

    #[test]
    fn the_next_answer_starts_afresh() {
        let mut answer = Answer::default();
        for _ in 0..2 {
            let taken = answer.take(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
            assert_eq!(taken, Ok(Progress::Complete(1)));
        }
    }
}
