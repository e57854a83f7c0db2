//! `hexiao verify`: proves the invariants of the data, on a live server too.

use anyhow::bail;

use crate::compose::open_db;
use crate::config::Config;

/// Runs every check and prints it; fails with the first broken row.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let db = open_db(config).await?;
    hexiao_db::migrate::check(&db).await?;
    let report = hexiao_db::verify::verify(&db, |check| eprintln!("  {check} …")).await?;
    for check in &report.checks {
        let mark = if check.total_broken == 0 { "✓" } else { "✗" };
        println!("{mark} {:<24} {}", check.name, check.what);
        for row in &check.broken {
            println!("    {} {} ({}): {}", row.table, row.id, row.merchant_id, row.detail);
        }
    }
    match report.first_broken() {
        None => {
            println!("数据完整：{} 项检查全部通过", report.checks.len());
            Ok(())
        }
        Some((check, row)) => {
            bail!("{} 不成立，第一处：{} {}：{}", check.name, row.table, row.id, row.detail)
        }
    }
}
