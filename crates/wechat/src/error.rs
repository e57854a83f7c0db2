//! What can go wrong, sorted by what the caller may conclude from it.
//!
//! No message here holds a key, an openid or a phone number: free text from the network is cut and masked.

use std::fmt;

/// Why a client could not be built from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A base URL isn't `http(s)://host[:port]`.
    #[error("the {0} must be http(s)://host[:port] without a path, query or credentials")]
    BaseUrl(&'static str),
    /// An appid or a merchant number has the wrong form.
    #[error("the {0} has the wrong form")]
    Identity(&'static str),
    /// The merchant certificate's serial isn't 40 hexadecimal digits.
    #[error("the merchant certificate's serial must be 40 hexadecimal digits")]
    MerchantSerial,
    /// The merchant's private key isn't a PKCS#8 RSA key of 2048 bits or more.
    #[error(
        "the merchant private key must be an RSA key of 2048 bits or more as PKCS#8 PEM (BEGIN PRIVATE KEY)"
    )]
    MerchantKey,
    /// The APIv3 key isn't 32 bytes.
    #[error("the APIv3 key must be exactly 32 ASCII bytes")]
    ApiV3Key,
    /// A platform certificate or public key could not be read; the index is its place in the configuration.
    #[error("platform key {0} (counted from 0) is not a readable RSA certificate or public key")]
    PlatformKey(usize),
    /// A WeChat Pay public key's id doesn't begin with `PUB_KEY_ID_`.
    #[error("platform key {0} (counted from 0): the id of a public key begins with PUB_KEY_ID_")]
    PublicKeyId(usize),
    /// The HTTP client could not be set up (no usable TLS roots, for instance).
    #[error("the HTTP client could not be set up")]
    HttpClient,
}

/// Why a call to WeChat Pay has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// WeChat said no. The call had no effect and the same call will be refused again
    /// (unless it was only too frequent: see [`CallError::retryable`]).
    #[error("WeChat refused with {status} {code}: {message} (request {})", or_dash(.request_id.as_deref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// WeChat's code.
        code: ErrorCode,
        /// WeChat's words, cut and with long identifiers masked.
        message: String,
        /// `Request-ID` of the answer.
        request_id: Option<String>,
    },
    /// The call may or may not have had its effect: ask, or repeat it with the same number.
    #[error("outcome unknown: {reason} (request {})", or_dash(.request_id.as_deref()))]
    Unknown {
        /// What broke.
        reason: String,
        /// `Request-ID` of the answer, if there was one.
        request_id: Option<String>,
    },
    /// The call certainly did not reach WeChat.
    #[error("not sent: {reason}")]
    NotSent {
        /// What broke.
        reason: String,
    },
}

impl CallError {
    /// Whether the call may have had its effect. If so, only the same number may be used again.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether the same call, with the same numbers and parameters, may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::NotSent { .. } => true,
            Self::Refused { status, code, .. } => *status == 429 || *code == ErrorCode::FrequencyLimited,
        }
    }

    /// WeChat's code, when it gave one.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unknown { .. } | Self::NotSent { .. } => None,
        }
    }

    pub(crate) fn unknown(reason: impl Into<String>, request_id: Option<String>) -> Self {
        Self::Unknown { reason: reason.into(), request_id }
    }

    pub(crate) fn not_sent(reason: impl Into<String>) -> Self {
        Self::NotSent { reason: reason.into() }
    }
}

fn or_dash(id: Option<&str>) -> &str {
    id.unwrap_or("-")
}

/// WeChat Pay's error codes: an open set, whose spellings vary with the age of the page that lists them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A parameter is wrong.
    ParamError,
    /// The request is not allowed now, or repeats a number with other parameters.
    InvalidRequest,
    /// Clock, key or serial: the signature was not accepted.
    SignError,
    /// The order is already paid.
    OrderPaid,
    /// The order is closed.
    OrderClosed,
    /// There is no such order.
    OrderNotExist,
    /// The order number was used before.
    OutTradeNoUsed,
    /// The merchant's balance is too small for the refund: top up, then repeat the same number.
    NotEnough,
    /// The user's account cannot take the refund.
    UserAccountAbnormal,
    /// Too many calls: wait, then repeat the same call.
    FrequencyLimited,
    /// There is no such thing (paid order, refund, usable platform certificate).
    ResourceNotExists,
    /// The merchant lacks the permission.
    NoAuth,
    /// Blocked by a rule of the merchant's account.
    RequestBlocked,
    /// Blocked by a business rule.
    RuleLimit,
    /// The trade failed for a business reason.
    TradeError,
    /// WeChat's own failure; the outcome is unknown.
    SystemError,
    /// The bank's failure; the outcome is unknown.
    BankError,
    /// There is no such merchant.
    MchNotExists,
    /// The appid isn't bound to the merchant.
    AppidMchidNotMatch,
    /// Any other code, as sent.
    Other(String),
}

impl From<&str> for ErrorCode {
    fn from(code: &str) -> Self {
        // Old and new pages differ in underscores only (ORDERPAID, ORDER_PAID), so they don't count.
        let plain: String = code.chars().filter(|c| *c != '_').collect::<String>().to_ascii_uppercase();
        match plain.as_str() {
            "PARAMERROR" => Self::ParamError,
            "INVALIDREQUEST" => Self::InvalidRequest,
            "SIGNERROR" => Self::SignError,
            "ORDERPAID" => Self::OrderPaid,
            "ORDERCLOSED" => Self::OrderClosed,
            "ORDERNOTEXIST" | "ORDERNOTEXISTS" => Self::OrderNotExist,
            "OUTTRADENOUSED" => Self::OutTradeNoUsed,
            "NOTENOUGH" => Self::NotEnough,
            "USERACCOUNTABNORMAL" => Self::UserAccountAbnormal,
            "FREQUENCYLIMITED" | "FREQUENCYLIMIT" | "RATELIMITEXCEED" | "RATELIMITEXCEEDED" => {
                Self::FrequencyLimited
            }
            "RESOURCENOTEXISTS" | "RESOURCENOTEXIST" => Self::ResourceNotExists,
            "NOAUTH" => Self::NoAuth,
            "REQUESTBLOCKED" => Self::RequestBlocked,
            "RULELIMIT" => Self::RuleLimit,
            "TRADEERROR" => Self::TradeError,
            "SYSTEMERROR" => Self::SystemError,
            "BANKERROR" => Self::BankError,
            "MCHNOTEXISTS" | "MCHNOTEXIST" => Self::MchNotExists,
            "APPIDMCHIDNOTMATCH" => Self::AppidMchidNotMatch,
            _ => Self::Other(masked(code)),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ParamError => "PARAM_ERROR",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::SignError => "SIGN_ERROR",
            Self::OrderPaid => "ORDERPAID",
            Self::OrderClosed => "ORDER_CLOSED",
            Self::OrderNotExist => "ORDER_NOT_EXIST",
            Self::OutTradeNoUsed => "OUT_TRADE_NO_USED",
            Self::NotEnough => "NOT_ENOUGH",
            Self::UserAccountAbnormal => "USER_ACCOUNT_ABNORMAL",
            Self::FrequencyLimited => "FREQUENCY_LIMITED",
            Self::ResourceNotExists => "RESOURCE_NOT_EXISTS",
            Self::NoAuth => "NO_AUTH",
            Self::RequestBlocked => "REQUEST_BLOCKED",
            Self::RuleLimit => "RULE_LIMIT",
            Self::TradeError => "TRADE_ERROR",
            Self::SystemError => "SYSTEM_ERROR",
            Self::BankError => "BANK_ERROR",
            Self::MchNotExists => "MCH_NOT_EXISTS",
            Self::AppidMchidNotMatch => "APPID_MCHID_NOT_MATCH",
            Self::Other(code) => code,
        })
    }
}

/// Why a notification is not believed. Whatever the reason, answer it with 4xx or 5xx: a genuine one comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// A `Wechatpay-*` header is missing or unreadable.
    #[error("a Wechatpay header is missing or unreadable")]
    MissingHeader,
    /// The timestamp is 300 s or more away from now.
    #[error("the timestamp is 300 s or more away from now")]
    Stale,
    /// No platform key of that serial is known.
    #[error("no platform key of that serial is known")]
    UnknownSerial,
    /// The signature doesn't fit the body.
    #[error("the signature does not fit the body")]
    BadSignature,
    /// WeChat's own test that signatures are checked (`WECHATPAY/SIGNTEST/`).
    #[error("a signature probe of WeChat's")]
    Probe,
    /// The body, or what was encrypted in it, isn't of the documented form.
    #[error("the body is not of the documented form")]
    BadBody,
    /// The resource could not be decrypted with the APIv3 key.
    #[error("the resource could not be decrypted")]
    BadCipher,
}

/// Free text from the network, fit for a log: at most 200 characters, and anything that may be an openid, a
/// phone or card number or a token masked (28 or more letters and digits, or 11 or more with a digit among them).
pub(crate) fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().take(200) {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            word.push(c);
        } else {
            push_word(&mut out, &word);
            word.clear();
            out.push(if c.is_control() { ' ' } else { c });
        }
    }
    push_word(&mut out, &word);
    out
}

fn push_word(out: &mut String, word: &str) {
    let secret_like = word.len() >= 28 || (word.len() >= 11 && word.contains(|c: char| c.is_ascii_digit()));
    out.push_str(if secret_like { "***" } else { word });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_code_are_one_code() {
        for (spelling, code) in [
            ("ORDERPAID", ErrorCode::OrderPaid),
            ("ORDER_PAID", ErrorCode::OrderPaid),
            ("ORDERNOTEXIST", ErrorCode::OrderNotExist),
            ("ORDER_NOT_EXIST", ErrorCode::OrderNotExist),
            ("FREQUENCY_LIMITED", ErrorCode::FrequencyLimited),
            ("RATELIMIT_EXCEED", ErrorCode::FrequencyLimited),
            ("RATELIMIT_EXCEEDED", ErrorCode::FrequencyLimited),
            ("ORDER_CLOSED", ErrorCode::OrderClosed),
            ("NO_STATEMENT_EXIST", ErrorCode::Other("NO_STATEMENT_EXIST".into())),
        ] {
            assert_eq!(ErrorCode::from(spelling), code, "{spelling}");
        }
    }

    #[test]
    fn display_of_a_code_reads_back() {
        for code in
            ["PARAM_ERROR", "OUT_TRADE_NO_USED", "APPID_MCHID_NOT_MATCH", "MCH_NOT_EXISTS", "BANK_ERROR"]
        {
            assert_eq!(ErrorCode::from(code).to_string(), code);
        }
    }

    #[test]
    fn masked_hides_identifiers_and_keeps_words() {
        assert_eq!(
            masked("openid oUpF8uMuAJO_M2pxb1Q9zNjWeS6o 与 appid 不匹配"),
            "openid *** 与 appid 不匹配"
        );
        assert_eq!(masked("tel 13800138000, RESOURCE_NOT_EXISTS"), "tel ***, RESOURCE_NOT_EXISTS");
        assert_eq!(masked(&"字".repeat(300)).chars().count(), 200);
    }

    #[test]
    fn only_unknown_unsent_and_frequency_are_retryable() {
        let refused =
            |status, code| CallError::Refused { status, code, message: String::new(), request_id: None };
        assert!(refused(429, ErrorCode::Other("X".into())).retryable());
        assert!(refused(403, ErrorCode::FrequencyLimited).retryable());
        assert!(!refused(403, ErrorCode::NotEnough).retryable());
        assert!(CallError::unknown("x", None).retryable() && CallError::unknown("x", None).outcome_unknown());
        assert!(CallError::not_sent("x").retryable() && !CallError::not_sent("x").outcome_unknown());
    }
}
