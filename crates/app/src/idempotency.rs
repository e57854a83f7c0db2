//! Repeating a request safely: the fingerprint of what was asked, and what a replay answers.

use serde::Serialize;

use crate::keys::sha256;

/// SHA-256 over what a request asks, as canonical JSON of a type whose fields have a fixed order.
pub fn fingerprint(request: &impl Serialize) -> [u8; 32] {
    sha256(hexiao_db::row::json_text(request).as_bytes())
}
