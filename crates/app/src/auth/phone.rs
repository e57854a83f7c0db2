//! A customer's phone number: WeChat vouches for it, so that nobody can claim another's. It is kept as a keyed hash, a
//! ciphertext and a masked form, like those of staff, and never in clear.

use hexiao_core::id::Id as _;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::CustomerScope;
use hexiao_core::text::MobilePhone;
use hexiao_db::{customers, transact};
use hexiao_wechat::MiniError;

use crate::context::App;
use crate::error::{AppError, Result};
use crate::merchant::seal_phone;

/// China's. Numbers of other countries are no mobile numbers here.
const COUNTRY_CODE: &str = "86";

impl App {
    /// Keeps the number that the customer allowed WeChat to tell us; its masked form.
    pub async fn bind_phone(&self, customer: CustomerScope, code: &str) -> Result<String> {
        let told = self.wechat.mini().phone_number(code).await.map_err(|e| refuse(&e))?;
        let phone = MobilePhone::parse(&told.pure_phone_number).ok();
        let phone = phone
            .filter(|_| told.country_code == COUNTRY_CODE)
            .ok_or_else(|| Refusal::with_message(Reason::InvalidField, "目前只支持中国大陆的手机号"))?;
        let sealed = seal_phone(&self.keys, &phone, customer.customer_id());
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(customers::set_phone(&tx, customer, Some(&sealed)).await?)
        })
        .map(|()| sealed.masked.clone())
    }

    /// Forgets the customer's number.
    pub async fn unbind_phone(&self, customer: CustomerScope) -> Result<()> {
        transact!(self.db, |tx| async { Ok::<_, AppError>(customers::set_phone(&tx, customer, None).await?) })
    }

    /// The number of a customer, if they gave one.
    pub(crate) async fn phone_of(&self, customer: CustomerScope) -> Result<Option<MobilePhone>> {
        let Some(cipher) = customers::phone_cipher(self.db.reader(), customer).await? else {
            return Ok(None);
        };
        let text = self.keys.code_keys.open_text(&cipher, customer.customer_id().uuid().as_bytes())?;
        let phone = MobilePhone::parse(&text).map_err(|_| AppError::Internal("stored phone".to_owned()))?;
        Ok(Some(phone))
    }
}

fn refuse(error: &MiniError) -> AppError {
    match error {
        MiniError::InvalidCode | MiniError::CodeUsed => Reason::PhoneCodeInvalid.into(),
        MiniError::UserBlocked => Reason::AccountDisabled.into(),
        MiniError::Busy | MiniError::Unreached | MiniError::Transport(_) => {
            AppError::Wechat(error.to_string())
        }
        MiniError::Refused { .. } => AppError::Internal(format!("getuserphonenumber: {error}")),
    }
}
