//! As much of HTTP as a probe needs: one request, and the first line of its answer. Pure.

use std::net::SocketAddr;

/// The longest reason phrase that is kept.
const REASON_MAX: usize = 100;

/// What the answer's first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// More has to come.
    Unfinished,
    /// A status.
    Line {
        /// Its number.
        code: u16,
        /// Number and phrase.
        text: String,
    },
    /// No HTTP.
    Nonsense,
}

/// The request for `path`.
pub(super) fn request(address: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: swarm-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

/// Reads the status line.
pub(super) fn status(head: &[u8]) -> Status {
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        return Status::Unfinished;
    };
    let line = String::from_utf8_lossy(&head[..end]);
    let Some((version, rest)) = line.trim_end().split_once(' ') else { return Status::Nonsense };
    let number = rest.split(' ').next().unwrap_or_default();
    let is_plain = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    let code = number.parse().ok().filter(|_| is_plain);
    match code {
        Some(code) if version.starts_with("HTTP/1.") => {
            let mut text: String = rest.chars().filter(|c| !c.is_control()).collect();
            text.truncate(text.floor_char_boundary(REASON_MAX));
            Status::Line { code, text }
        }
        Some(_) | None => Status::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_or_it_is_no_http() {
        let line = |code, text: &str| Status::Line { code, text: text.to_owned() };
        let check = |head: &[u8], expect: Status| assert_eq!(status(head), expect, "{head:?}");
        check(b"", Status::Unfinished);
        check(b"HTTP/1.1 200 OK\r", Status::Unfinished);
        check(b"HTTP/1.1 200 OK\r\nServer: x", line(200, "200 OK"));
        check(b"HTTP/1.0 404\n", line(404, "404"));
        check(b"HTTP/1.1 500 \x1b[31mred\r\n", line(500, "500 [31mred"));
        check(b"HTTP/1.1 20 OK\r\n", Status::Nonsense);
        check(b"HTTP/1.1 +20 OK\r\n", Status::Nonsense);
        check(b"HTTP/2 200 OK\r\n", Status::Nonsense);
        check(b"\xff\xfe\n", Status::Nonsense);
        let long = [b"HTTP/1.1 500 ".as_slice(), &[b'x'; 999], b"\n"].concat();
        assert!(matches!(status(&long), Status::Line { text, .. } if text.len() == REASON_MAX));
    }
}
