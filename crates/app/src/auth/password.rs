//! Passwords: argon2id, hashed off the async threads and never more than two at once.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};

use crate::context::App;
use crate::error::{AppError, Result};

/// What is wrong with a new password, in Chinese; `None` when it will do.
pub fn password_problem(password: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if !(8..=72).contains(&length) {
        return Some("密码应为 8–72 个字符");
    }
    let letters = password.chars().any(char::is_alphabetic);
    let digits = password.chars().any(|c| c.is_ascii_digit());
    (!letters || !digits).then_some("密码应同时包含字母和数字")
}

/// Hashes a password. Takes 20 ms of a core: use [`App::hash_password`] in a server.
pub fn hash_password(password: &str) -> Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|h| h.to_string()).map_err(|e| AppError::Internal(format!("argon2: {e}")))
}

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// The hash of no password: signing in with an unknown phone number must take as long as with a known one.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$M7eKPsuIcLN6NWS5OYmlNs+bnMZBLHxjVoMZ0Hm8bb8";

impl App {
    /// Hashes a password beside the async threads.
    pub async fn hash_password(&self, password: String) -> Result<String> {
        let _permit = self.hashing.acquire().await.map_err(|e| AppError::Internal(e.to_string()))?;
        tokio::task::spawn_blocking(move || hash_password(&password))
            .await
            .map_err(|e| AppError::Internal(e.to_string()))?
    }

    /// Which of the hashes a password fits; spends the same time when there is none.
    pub(crate) async fn check_password(&self, password: String, hashes: Vec<String>) -> Result<Vec<bool>> {
        let _permit = self.hashing.acquire().await.map_err(|e| AppError::Internal(e.to_string()))?;
        tokio::task::spawn_blocking(move || {
            if hashes.is_empty() {
                matches(&password, DUMMY);
            }
            hashes.iter().map(|hash| matches(&password, hash)).collect()
        })
        .await
        .map_err(|e| AppError::Internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_only() {
        let hash = hash_password("abc12345").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(matches("abc12345", &hash));
        assert!(!matches("abc12346", &hash));
        assert!(PasswordHash::new(DUMMY).is_ok(), "the dummy must cost a real verification");
    }

    #[test]
    fn weak_passwords_are_named() {
        assert!(password_problem("short1").is_some());
        assert!(password_problem("onlyletters").is_some());
        assert!(password_problem("12345678").is_some());
        assert!(password_problem("hexiao2026").is_none());
    }
}
