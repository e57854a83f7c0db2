//! What a use case answers when it does not succeed: a refusal for the caller, or an internal error whose text no
//! caller sees.

use hexiao_core::code::OpenError;
use hexiao_core::money::AmountOverflow;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::state::IllegalTransition;
use hexiao_db::DbError;
use hexiao_db::pool::AsDbError;

/// Result of this crate.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// Why a use case did not succeed.
#[derive(Debug)]
pub enum AppError {
    /// A rule says no. The caller is told why.
    Refused(Box<Refusal>),
    /// The database failed.
    Db(DbError),
    /// WeChat failed or its outcome is unknown; the caller may try again.
    Wechat(String),
    /// Something that the types and constraints should have excluded.
    Internal(String),
}

impl AppError {
    /// The closed code for the caller.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => refusal.reason,
            // Still asked to repeat after all repetitions: too much is going on at this row.
            Self::Db(e) if e.is_unavailable() || e.is_retryable() => Reason::Busy,
            Self::Db(_) | Self::Internal(_) => Reason::Internal,
            Self::Wechat(_) => Reason::WechatUnavailable,
        }
    }

    /// What a log line or a job's row may hold: no parameter of a statement, so no code, phone number or openid.
    pub fn log_text(&self) -> String {
        match self {
            Self::Refused(refusal) => format!("refused: {}", refusal.reason),
            Self::Db(error) => format!("database: {error}"),
            Self::Wechat(text) => format!("wechat: {text}"),
            Self::Internal(text) => text.clone(),
        }
    }

    /// What the caller is told.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            other => Refusal::new(other.reason()),
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Reason> for AppError {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}

impl From<DbError> for AppError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<AmountOverflow> for AppError {
    fn from(_: AmountOverflow) -> Self {
        Refusal::with_message(Reason::InvalidField, "金额超出范围").into()
    }
}

impl From<IllegalTransition> for AppError {
    fn from(error: IllegalTransition) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<OpenError> for AppError {
    fn from(error: OpenError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl AsDbError for AppError {
    fn as_db_error(&self) -> Option<&DbError> {
        match self {
            Self::Db(error) => Some(error),
            Self::Refused(_) | Self::Wechat(_) | Self::Internal(_) => None,
        }
    }
}
