//! The texts that a merchant and its customers agree to.

use crate::state::text_enum;
use crate::text::{TextError, clean_multiline};

/// The most characters of a text.
pub const MAX_AGREEMENT_CHARS: usize = 50_000;
/// The most versions of a text. All are kept: somebody agreed to each of them.
pub const MAX_AGREEMENT_VERSIONS: i64 = 1_000;

text_enum! {
    /// The four texts.
    pub enum AgreementKind {
        /// 用户协议
        UserAgreement = "user_agreement",
        /// 隐私政策
        PrivacyPolicy = "privacy_policy",
        /// 核销规则
        RedemptionRules = "redemption_rules",
        /// 售后政策
        AfterSalesPolicy = "after_sales_policy",
    }
}

impl AgreementKind {
    /// What customers call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::UserAgreement => "用户协议",
            Self::PrivacyPolicy => "隐私政策",
            Self::RedemptionRules => "核销规则",
            Self::AfterSalesPolicy => "售后政策",
        }
    }
}

/// A text as it may be stored: plain text, not empty.
pub fn clean_agreement(body: &str) -> Result<String, TextError> {
    clean_multiline(body, 1, MAX_AGREEMENT_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_and_bounded() {
        assert_eq!(clean_agreement(" # 规则\r\n1. 一\n").as_deref(), Ok("# 规则\n1. 一"));
        assert_eq!(clean_agreement(" \n"), Err(TextError::Empty));
        assert!(clean_agreement(&"字".repeat(MAX_AGREEMENT_CHARS)).is_ok());
        assert!(clean_agreement(&"字".repeat(MAX_AGREEMENT_CHARS + 1)).is_err());
        assert!(clean_agreement("a\u{202E}b").is_err());
    }
}
