//! `hexiao init`: a real first merchant — owner, pay account, default rules, the four agreement texts.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use hexiao_app::merchant::{Agreements, NewMerchant, NewOwner, NewPayAccount};
use hexiao_app::wechat::{Account, MERCHANT_FILES};
use hexiao_core::text::{MobilePhone, clean_text};
use hexiao_db::{merchants, migrate};

use crate::config::{Config, Mode};
use crate::{compose, password, private, secrets};

/// What `hexiao init` asks for. What is not given is asked at a terminal.
#[derive(Args)]
pub struct InitArgs {
    /// 商家名称
    #[arg(long)]
    pub name: Option<String>,
    /// 老板姓名
    #[arg(long)]
    pub owner_name: Option<String>,
    /// 老板手机号（用来登录）
    #[arg(long)]
    pub owner_phone: Option<String>,
    /// 老板密码所在的文件；不给则在终端询问（不显示），或从标准输入读一行
    #[arg(long, value_name = "FILE")]
    pub owner_password_file: Option<PathBuf>,
    /// 微信支付商户号（服务商模式为服务商的）
    #[arg(long)]
    pub mchid: Option<String>,
    /// 小程序 appid；不给则用配置里的 mini_appid
    #[arg(long)]
    pub appid: Option<String>,
    /// 服务商模式：特约商户号
    #[arg(long)]
    pub sub_mchid: Option<String>,
    /// 服务商模式：特约商户自己的小程序 appid
    #[arg(long)]
    pub sub_appid: Option<String>,
    /// 密钥目录名：数据目录下 keys/wechat/<名称>/ 里放 merchant_key.pem 等文件
    #[arg(long, default_value = "main")]
    pub key_ref: String,
    /// 四份协议文本所在目录（user_agreement.md、privacy_policy.md、redemption_rules.md、after_sales_policy.md）；不给则用模板
    #[arg(long, value_name = "DIR")]
    pub agreements: Option<PathBuf>,
}

/// The default texts, with the merchant's name filled in. A lawyer should read them before customers do.
pub fn agreements(merchant: &str) -> Agreements {
    let fill = |text: &str| text.replace("{merchant}", merchant);
    Agreements {
        user_agreement: fill(include_str!("../agreements/user_agreement.md")),
        privacy_policy: fill(include_str!("../agreements/privacy_policy.md")),
        redemption_rules: fill(include_str!("../agreements/redemption_rules.md")),
        after_sales_policy: fill(include_str!("../agreements/after_sales_policy.md")),
    }
}

/// Makes the first merchant.
pub async fn run(config: &Config, args: InitArgs) -> anyhow::Result<()> {
    private::data_dir(&config.data)?;
    let db = compose::open_db(config).await?;
    migrate::migrate(&db).await?;
    ensure!(merchants::first(db.reader()).await?.is_none(), "已经有商家了：hexiao init 只用于第一次");
    secrets::ensure_generated(&config.keys_dir(), config.mode)?;
    let new = gather(config, args)?;
    let keys = config.keys_dir().join("wechat").join(&new.pay_account.key_ref);
    private::create_dir(&keys)?;
    let urls = compose::wechat_urls(config, None);
    let app = compose::app(
        &Config { mini_secret: Some("unused".to_owned().into()), ..config.clone() },
        db,
        urls,
        String::new(),
    )
    .await?;
    let name = new.name.clone();
    let (merchant, owner, account) = app.create_merchant(new).await.map_err(|e| {
        let refusal = e.refusal();
        let fields: Vec<String> =
            refusal.fields.iter().map(|f| format!("{}：{}", f.path, f.message)).collect();
        anyhow!("{} {}", refusal.message, fields.join("；"))
    })?;
    println!("商家「{name}」已创建\n  商家   {merchant}\n  老板   {owner}\n  支付账号 {account}");
    let missing: Vec<&str> = MERCHANT_FILES.into_iter().filter(|f| !keys.join(f).exists()).collect();
    if !missing.is_empty() {
        println!("\n收款前请把微信支付的密钥文件放进 {}：", keys.display());
        for (file, what) in [
            ("merchant_key.pem", "商户 API 私钥（PKCS#8）"),
            ("merchant_serial.txt", "商户 API 证书序列号（40 位十六进制）"),
            ("api_v3_key.txt", "APIv3 密钥（32 字节）"),
            ("platform_public_key.pem", "微信支付公钥"),
            ("platform_public_key_id.txt", "微信支付公钥 ID（PUB_KEY_ID_…）"),
            ("platform_cert*.pem", "或：平台证书（老商户）"),
        ] {
            println!("  {file:<28} {what}");
        }
    }
    if config.mode == Mode::Production {
        println!("\n小程序密钥请放进 {}", config.keys_dir().join("mini_secret.txt").display());
    }
    println!("\n下一步：hexiao serve，然后用老板的手机号登录，创建门店和商品。");
    Ok(())
}

fn gather(config: &Config, args: InitArgs) -> anyhow::Result<NewMerchant> {
    let name = ask(args.name, "商家名称")?;
    let name = clean_text(&name, 1, 60).map_err(|e| anyhow!("商家名称：{e}"))?;
    let owner_name =
        clean_text(&ask(args.owner_name, "老板姓名")?, 1, 30).map_err(|e| anyhow!("老板姓名：{e}"))?;
    let phone = MobilePhone::parse(&ask(args.owner_phone, "老板手机号")?).map_err(|e| anyhow!("{e}"))?;
    let password = match args.owner_password_file {
        Some(path) => fs::read_to_string(&path)
            .with_context(|| format!("不能读取 {}", path.display()))?
            .trim_end()
            .to_owned(),
        None => password::read_new("老板密码")?,
    };
    password::check(&password)?;
    if config.mode == Mode::Production && password == crate::demo::data::DEMO_PASSWORD {
        bail!("production 模式不能使用演示密码");
    }
    let mchid = ask(args.mchid, "微信支付商户号")?;
    let appid = args.appid.unwrap_or_else(|| config.mini_appid.clone());
    ensure!(
        args.key_ref.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
        "密钥目录名只能用字母、数字、- 和 _"
    );
    let account = match args.sub_mchid {
        None => Account::Direct { appid, mchid },
        Some(sub_mchid) => {
            Account::Partner { sp_appid: appid, sp_mchid: mchid, sub_appid: args.sub_appid, sub_mchid }
        }
    };
    let agreements = match args.agreements {
        None => agreements(&name),
        Some(dir) => {
            let read = |file: &str| {
                fs::read_to_string(dir.join(file))
                    .with_context(|| format!("不能读取 {}", dir.join(file).display()))
            };
            Agreements {
                user_agreement: read("user_agreement.md")?,
                privacy_policy: read("privacy_policy.md")?,
                redemption_rules: read("redemption_rules.md")?,
                after_sales_policy: read("after_sales_policy.md")?,
            }
        }
    };
    Ok(NewMerchant {
        name,
        zone: chrono_tz::Tz::Asia__Shanghai,
        owner: NewOwner { name: owner_name, phone, password },
        pay_account: NewPayAccount { account, key_ref: args.key_ref },
        agreements,
    })
}

fn ask(given: Option<String>, what: &str) -> anyhow::Result<String> {
    if let Some(text) = given {
        return Ok(text);
    }
    ensure!(std::io::stdin().is_terminal(), "缺少「{what}」：请用参数给出，见 hexiao init --help");
    print!("{what}：");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let text = line.trim().to_owned();
    ensure!(!text.is_empty(), "「{what}」不能为空");
    Ok(text)
}
