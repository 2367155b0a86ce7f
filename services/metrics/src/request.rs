//! A request of HTTP, as far as it is of interest: method, path, and which format is accepted (RFC 9110, RFC 9112).
//!
//! A request has no content here: what comes behind its header is not read.

use httparse::Status;

/// The longest header.
pub const LENGTH_LIMIT: usize = 8192;
/// The most fields in it.
const FIELDS_LIMIT: usize = 64;

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for, without a query.
    pub path: String,
    /// Only the header of the answer is wanted.
    pub is_head: bool,
    /// The client takes `text/plain` and does not know OpenMetrics.
    pub wants_plain: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no HTTP.
    Malformed,
    /// It is another method than GET and HEAD.
    Method,
    /// Its header is above a limit.
    TooLong,
}

/// What has come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// More must come.
    Part,
    /// A request.
    Whole(Request),
    /// None that is served.
    Refused(Refusal),
}

/// Reads what has come so far.
#[must_use]
pub fn read(head: &[u8]) -> Reading {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(_)) => whole(&request),
        Ok(Status::Partial) if head.len() >= LENGTH_LIMIT => Reading::Refused(Refusal::TooLong),
        Ok(Status::Partial) => Reading::Part,
        Err(httparse::Error::TooManyHeaders) => Reading::Refused(Refusal::TooLong),
        Err(_) => Reading::Refused(Refusal::Malformed),
    }
}

fn whole(request: &httparse::Request<'_, '_>) -> Reading {
    let is_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Reading::Refused(Refusal::Method),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path).to_owned();
    let accepts = |kind: &str| {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("accept")).any(|field| {
            String::from_utf8_lossy(field.value)
                .to_ascii_lowercase()
                .split(',')
                .any(|part| part.split(';').next().is_some_and(|media| media.trim() == kind))
        })
    };
    let wants_plain = accepts("text/plain") && !accepts("application/openmetrics-text");
    Reading::Whole(Request { path, is_head, wants_plain })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn requests() {
        let whole = |path: &str, is_head, wants_plain| {
            Reading::Whole(Request { path: path.to_owned(), is_head, wants_plain })
        };
        for (head, expected) in [
            ("", Reading::Part),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n", Reading::Part),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", whole("/metrics", false, false)),
            ("GET /metrics HTTP/1.0\n\n", whole("/metrics", false, false)),
            ("HEAD /metrics?a=b HTTP/1.1\r\n\r\nbody", whole("/metrics", true, false)),
            ("GET / HTTP/1.1\r\naccept: text/html, TEXT/plain;q=0.5\r\n\r\n", whole("/", false, true)),
            (
                "GET / HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain\r\n\r\n",
                whole("/", false, false),
            ),
            ("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", whole("/", false, false)),
            ("POST / HTTP/1.1\r\n\r\n", Reading::Refused(Refusal::Method)),
            ("EHLO there\r\n", Reading::Refused(Refusal::Malformed)),
            ("\x16\x03\x01", Reading::Refused(Refusal::Malformed)),
        ] {
            assert_eq!(read(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn limits() {
        let fields = "a: b\r\n".repeat(FIELDS_LIMIT + 1);
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(read(head.as_bytes()), Reading::Refused(Refusal::TooLong));
        let mut head = b"GET /".to_vec();
        head.resize(LENGTH_LIMIT, b'x');
        assert_eq!(read(&head), Reading::Refused(Refusal::TooLong));
        assert_eq!(read(&head[..LENGTH_LIMIT - 1]), Reading::Part);
    }
    /// Pieces of requests in any order, whole and cut off: what is settled by a beginning stays so. `POSTERN_ROUNDS` is how
    /// many.
    #[test]
    fn a_request_in_pieces() {
        const PIECES: [&[u8]; 12] = [
            b"GET ",
            b"HEAD ",
            b"/metrics",
            b"?a=b",
            b" HTTP/1.1\r\n",
            b" HTTP/1.0\n",
            b"Host: a\r\n",
            b"\r\n",
            b"\n",
            b"Accept: text/plain\r\n",
            b"\0",
            b"\xff\x80",
        ];
        let rounds = std::env::var("POSTERN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
        let mut random = StdRng::seed_from_u64(18);
        for _ in 0..rounds {
            let count = random.random_range(0..14);
            let pieces: Vec<&[u8]> =
                (0..count).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
            let bytes = pieces.concat();
            let whole = read(&bytes);
            let settled =
                (0..bytes.len()).map(|end| read(&bytes[..end])).find(|reading| *reading != Reading::Part);
            assert!(settled.is_none_or(|settled| settled == whole), "{:?}", bytes.escape_ascii().to_string());
        }
    }
}
