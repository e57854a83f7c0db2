//! The WeChat simulator of a development installation: its keys, its merchants, its start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hexiao_wechat_sim::{PlatformKeys, SimConfig, SimHandle, SimMerchant, SimMiniProgram, SubMerchant};

use crate::private;
use crate::secrets::{generate_merchant_keys, write_private};

/// The key folder of the demo merchant's own account (direct mode).
pub const DIRECT_REF: &str = "demo-direct";
/// The key folder of the demo service provider (partner mode).
pub const PARTNER_REF: &str = "demo-partner";
/// Merchant number of the direct account.
pub const DIRECT_MCHID: &str = "1900000001";
/// Merchant number of the service provider.
pub const PARTNER_MCHID: &str = "1900000002";
/// Merchant number below the service provider.
pub const SUB_MCHID: &str = "1900000003";
/// The mini-program's secret at the simulator.
pub const MINI_SECRET: &str = "simulator-only-secret";

/// Makes the simulator's keys and those of the demo accounts unless they are there.
pub fn ensure_keys(keys_dir: &Path) -> anyhow::Result<PlatformKeys> {
    let own = keys_dir.join("simulator");
    private::create_dir(&own)?;
    if !own.join("platform_cert.pem").exists() {
        let pem = PlatformKeys::generate()?.to_pem();
        write_private(&own.join("platform_key.pem"), &pem.private_key_pem)?;
        write_private(&own.join("public_key_id.txt"), &pem.public_key_id)?;
        write_private(&own.join("platform_cert.pem"), &pem.certificate_pem)?;
    }
    let read = |name: &str| fs::read_to_string(own.join(name)).with_context(|| format!("simulator/{name}"));
    let platform = PlatformKeys::from_pem(
        &read("platform_key.pem")?,
        &read("platform_cert.pem")?,
        &read("public_key_id.txt")?,
    )?;
    for reference in [DIRECT_REF, PARTNER_REF] {
        let dir = keys_dir.join("wechat").join(reference);
        generate_merchant_keys(&dir)?;
        // Both kinds of platform key: WeChat's notifications come mixed while a merchant switches over.
        for (name, text) in [
            ("platform_public_key.pem", platform.public_key_pem()),
            ("platform_public_key_id.txt", platform.public_key_id()),
            ("platform_cert.pem", platform.certificate_pem()),
        ] {
            if !dir.join(name).exists() {
                write_private(&dir.join(name), text)?;
            }
        }
    }
    Ok(platform)
}

/// What the simulator must know: its own keys, the demo accounts' public ones, our mini-program.
pub fn config(keys_dir: &Path, mini_appid: &str) -> anyhow::Result<SimConfig> {
    let platform = ensure_keys(keys_dir)?;
    let merchant = |reference: &str, mchid: &str, subs: Vec<SubMerchant>| -> anyhow::Result<SimMerchant> {
        let dir = keys_dir.join("wechat").join(reference);
        let read = |name: &str| {
            fs::read_to_string(dir.join(name))
                .map(|t| t.trim().to_owned())
                .with_context(|| format!("{reference}/{name}"))
        };
        Ok(SimMerchant {
            mchid: mchid.to_owned(),
            appids: vec![mini_appid.to_owned()],
            serial: read("merchant_serial.txt")?,
            public_key_pem: read("merchant_public_key.pem")?,
            api_v3_key: read("api_v3_key.txt")?,
            subs,
        })
    };
    let sub = SubMerchant { mchid: SUB_MCHID.to_owned(), appid: None };
    let mut config = SimConfig::new(platform);
    config.merchants =
        vec![merchant(DIRECT_REF, DIRECT_MCHID, vec![])?, merchant(PARTNER_REF, PARTNER_MCHID, vec![sub])?];
    config.mini_programs =
        vec![SimMiniProgram { appid: mini_appid.to_owned(), secret: MINI_SECRET.to_owned() }];
    config.refund_delay = Duration::from_secs(1);
    Ok(config)
}

/// Starts it with its journal in the data folder, so that what was paid yesterday can be refunded today.
pub async fn start(settings: &crate::config::Config) -> anyhow::Result<SimHandle> {
    let mut config = config(&settings.keys_dir(), &settings.mini_appid)?;
    config.listen = settings.simulator_listen;
    config.state_file = Some(settings.data.join("simulator.jsonl"));
    hexiao_wechat_sim::start(config).await.with_context(|| {
        format!(
            "微信模拟器不能监听 {}（端口被占用？可用 --simulator-port 换一个）",
            settings.simulator_listen
        )
    })
}
