//! Access tokens: EdDSA JWTs of 15 minutes. They name a session; what the session may do is read from the database.

use hexiao_core::id::{Id, SessionId};
use hexiao_core::time::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::error::{AppError, Result};
use crate::keys::Keys;

/// Seconds an access token lives.
pub(super) const ACCESS_TOKEN_S: i64 = 15 * 60;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sid: String,
    iat: i64,
    exp: i64,
}

const ISSUER: &str = "hexiao";

/// Signs a token for a session.
pub(super) fn sign(keys: &Keys, session: SessionId, now: Timestamp) -> Result<String> {
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sid: session.to_string(),
        iat: now.seconds(),
        exp: now.seconds() + ACCESS_TOKEN_S,
    };
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &keys.access_token_key.private)
        .map_err(|e| AppError::Internal(format!("cannot sign a token: {e}")))
}

/// The session a token names and when it expires; `None` when it is not ours.
pub(super) fn verify(keys: &Keys, token: &str) -> Option<(SessionId, i64)> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    // Expiry is judged by our own clock, by the caller.
    validation.validate_exp = false;
    validation.set_issuer(&[ISSUER]);
    let data = jsonwebtoken::decode::<Claims>(token, &keys.access_token_key.public, &validation).ok()?;
    SessionId::parse(&data.claims.sid).ok().map(|sid| (sid, data.claims.exp))
}
