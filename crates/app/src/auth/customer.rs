//! Customers sign in with the code of `wx.login`.

use hexiao_core::reason::Reason;
use hexiao_core::time::Timestamp;
use hexiao_db::customers::{self, Customer};
use hexiao_db::sessions::Subject;
use hexiao_db::{Tx, transact};
use hexiao_wechat::MiniError;

use super::session::{self, Tokens};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

impl App {
    /// Exchanges a login code for a session. The first sign-in makes the customer.
    pub async fn sign_in_customer(&self, code: &str) -> Result<(Customer, Tokens)> {
        let who = self.wechat.mini().code2session(code).await.map_err(|e| refuse(&e))?;
        let new = Customer {
            id: new_id(),
            appid: self.wechat.mini_appid().to_owned(),
            openid: who.openid,
            nickname: "微信用户".to_owned(),
            phone_masked: None,
            active: true,
        };
        let now = self.now();
        transact!(self.db, |tx| sign_in(self, &tx, &new, who.unionid.as_deref(), now))
    }
}

async fn sign_in(
    app: &App,
    tx: &Tx,
    new: &Customer,
    unionid: Option<&str>,
    now: Timestamp,
) -> Result<(Customer, Tokens)> {
    let customer = customers::find_or_insert(tx, new, unionid, now).await?;
    if !customer.active {
        return Err(Reason::AccountDisabled.into());
    }
    let tokens = session::open(app, tx, Subject::Customer(customer.id), now).await?;
    Ok((customer, tokens))
}

fn refuse(error: &MiniError) -> AppError {
    match error {
        MiniError::InvalidCode | MiniError::CodeUsed => Reason::LoginCodeInvalid.into(),
        MiniError::UserBlocked => Reason::AccountDisabled.into(),
        MiniError::Busy | MiniError::Unreached | MiniError::Transport(_) => {
            AppError::Wechat(error.to_string())
        }
        MiniError::Refused { .. } => AppError::Internal(format!("code2Session: {error}")),
    }
}
