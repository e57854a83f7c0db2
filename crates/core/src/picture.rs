//! Where a picture may be: one rule for covers, product pictures, pictures in rich text and photos of stores.
//!
//! Promise: an accepted address fits between the quotes of an HTML attribute and loads nothing but a picture: over
//! TLS from somewhere, or from this server without leaving its root.

use crate::text::clean_text;

/// What to tell whoever entered another one.
pub const BAD_PICTURE_URL: &str = "图片地址应以 https:// 或 / 开头";

const MAX_CHARS: usize = 500;

/// Whether it is `https://…` or a path on this server that stays below its root.
pub fn is_picture_url(text: &str) -> bool {
    let plain = clean_text(text, 1, MAX_CHARS).is_ok()
        && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\'));
    let remote = text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let local = text.starts_with('/') && !text.starts_with("//") && !text.split('/').any(leads_up);
    plain && (remote || local)
}

/// `..`, also with its dots written as browsers read them.
fn leads_up(part: &str) -> bool {
    part.to_ascii_lowercase().replace("%2e", ".") == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_https_or_below_the_root() {
        for good in ["https://cdn.example/a.png", "/media/2026/a.jpg", "/media/01/门店..1.webp"] {
            assert!(is_picture_url(good), "{good}");
        }
        assert!(is_picture_url(&format!("/{}", "图".repeat(499))));
        assert!(!is_picture_url(&format!("/{}", "图".repeat(500))));
        for bad in [
            "",
            "a.png",
            "http://x/a.png",
            "javascript:alert(1)",
            "data:image/png;base64,AA",
            "//x/a.png",
            "https://",
            "https:///a",
            "https://a b",
            "/media/../../etc",
            "/media/%2E./%2e%2E/etc",
            "/a b",
            " /a",
            "/a\"b",
            "/a'b",
            "/a<b",
            "/a\\b",
            "/a\nb",
            "/a\u{202E}b",
        ] {
            assert!(!is_picture_url(bad), "{bad}");
        }
    }
}
