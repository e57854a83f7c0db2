//! `hexiao staff`: accounts from the command line, for the day nobody can sign in.

use anyhow::{Context, anyhow};
use hexiao_app::App;
use hexiao_core::text::MobilePhone;

/// Gives the account with a phone number a new password and ends its sessions.
pub async fn reset_password(app: &App, phone: &str, password: &str) -> anyhow::Result<()> {
    let phone = MobilePhone::parse(phone).map_err(|e| anyhow!("{e}"))?;
    let changed = app
        .reset_password_by_phone(&phone, password)
        .await
        .map_err(|e| anyhow!("{}", e.refusal().message))?;
    (changed > 0).then_some(()).context("没有这个手机号的员工账号")?;
    println!("已为 {} 设置新密码，并退出其所有登录", phone.masked());
    Ok(())
}
