//! What both clients share of HTTP: a client without redirects, and a bounded body.

use reqwest::{Client, Response, Url, redirect::Policy};
use std::time::Duration;

/// Longest answer read. Ours are a few kilobytes; a list of certificates is the largest.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a connection may take, TLS included, before it counts as a connect failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client that follows no redirect: a signed path and a secret are for the configured host only.
pub(crate) fn client() -> Option<Client> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .user_agent(concat!("hexiao-wechat/", env!("CARGO_PKG_VERSION")))
        .build()
        .ok()
}

/// `http(s)://host[:port]` and nothing more: a signature covers the path as WeChat sees it, so none may be added.
pub(crate) fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}

/// Reads a body up to the limit; the error says what broke and nothing of the URL.
pub(crate) async fn body(mut response: Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err("the answer is too long");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A fixed text for a transport failure. reqwest's own text holds the URL, and a URL may hold a secret.
pub(crate) fn failure(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    }
}

/// Percent-encodes a path segment or query value: everything but letters, digits and `-._~`.
pub(crate) fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_takes_an_origin_only() {
        for good in ["https://api.mch.weixin.qq.com", "http://127.0.0.1:9000/"] {
            assert!(base_url(good).is_some(), "{good}");
        }
        for bad in ["api.mch.weixin.qq.com", "ftp://a", "https://a/v3", "https://a/?x=1", "https://u:p@a", ""]
        {
            assert!(base_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn encode_leaves_only_unreserved() {
        assert_eq!(encode("aZ09-._~"), "aZ09-._~");
        assert_eq!(encode("A|b*c@/?é"), "A%7Cb%2Ac%40%2F%3F%C3%A9");
    }
}
