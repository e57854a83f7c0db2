//! `hexiao jobs`: what goes on behind the requests, and the retry of what failed too often.

use anyhow::{anyhow, bail};
use hexiao_app::clock::{Clock as _, SystemClock};
use hexiao_app::jobs::JobKind;
use hexiao_app::{AppError, dead_jobs};
use hexiao_core::id::{Id as _, JobId, RecordId};
use hexiao_core::job::JobState;
use hexiao_core::time::Timestamp;
use hexiao_db::jobs::{self, Listed};
use hexiao_db::page::{MAX_LIMIT, PageRequest};
use hexiao_db::{Db, migrate};

use crate::compose::open_db;
use crate::config::Config;

async fn open(config: &Config) -> anyhow::Result<Db> {
    let db = open_db(config).await?;
    migrate::check(&db).await?;
    Ok(db)
}

/// Prints the newest jobs that are not done, or only the dead ones.
pub async fn list(config: &Config, dead: bool) -> anyhow::Result<()> {
    let db = open(config).await?;
    let page = PageRequest { after: None, limit: MAX_LIMIT };
    let found = jobs::list_everywhere(db.reader(), dead.then_some(JobState::Dead), &page).await?;
    for job in &found.items {
        print_job(job);
    }
    let dead_ones = found.items.iter().filter(|job| job.state == JobState::Dead).count();
    if found.items.is_empty() {
        println!("{}", if dead { "没有已停止的任务，不用处理" } else { "没有未完成的任务" });
        return Ok(());
    }
    if found.next.is_some() {
        println!("以上是最新的 {MAX_LIMIT} 个，还有更多");
    } else {
        println!("共 {} 个", found.items.len());
    }
    if dead_ones > 0 {
        println!(
            "其中 {dead_ones} 个失败太多次，已停止。下一步：排除原因后运行 hexiao jobs retry <编号>，或 hexiao jobs retry --all"
        );
    }
    Ok(())
}

fn print_job(job: &Listed) {
    let zone = chrono_tz::Asia::Shanghai;
    let when = |t: Timestamp| t.local_text(zone);
    let state = match job.state {
        JobState::Ready => format!("等待，{} 执行", when(job.run_at)),
        JobState::Running => "执行中".to_owned(),
        JobState::Done => "已完成".to_owned(),
        JobState::Dead => {
            format!("已停止（{}）", job.finished_at.map_or_else(|| "时间不详".to_owned(), when))
        }
    };
    let taken_over = if job.taken_over { "，同一对象已有新任务" } else { "" };
    println!(
        "{}  {}  {}{taken_over}\n    商家 {}  对象 {}  连续失败 {} 次",
        job.id,
        words(&job.kind),
        state,
        job.merchant_id,
        subject(job),
        job.attempts
    );
    if let Some(error) = &job.error {
        println!("    最近的错误：{error}");
    }
}

fn words(kind: &str) -> &str {
    match JobKind::from_text(kind) {
        Some(kind) => kind.words(),
        None => kind,
    }
}

fn subject(job: &Listed) -> String {
    let kind = JobKind::from_text(&job.kind);
    kind.map_or_else(|| RecordId::from_uuid(job.subject_id).to_string(), |kind| kind.subject(job.subject_id))
}

/// Retries one dead job, or all of them.
pub async fn retry(config: &Config, id: Option<&str>) -> anyhow::Result<()> {
    let db = open(config).await?;
    let now = SystemClock.now();
    match id {
        Some(text) => {
            let id = JobId::parse(text)
                .map_err(|_| anyhow!("{text} 不是任务编号（job_…）；编号见 hexiao jobs list --dead"))?;
            let job = dead_jobs::retry_one(&db, id, now).await.map_err(explain)?;
            println!("已重新安排：{}（{}，对象 {}）", job.id, words(&job.kind), subject(&job));
        }
        None => {
            let (retried, unknown) = dead_jobs::retry_all(&db, now).await.map_err(explain)?;
            if retried == 0 && unknown == 0 {
                println!("没有已停止的任务，不用处理");
                return Ok(());
            }
            println!("已重新安排 {retried} 个任务");
            if unknown > 0 {
                bail!("{unknown} 个任务的类型当前版本不认识：请用写入它们的版本重试");
            }
        }
    }
    println!("运行中的服务会马上执行；没有运行时，下次启动后执行。结果见 hexiao jobs list");
    Ok(())
}

fn explain(error: AppError) -> anyhow::Error {
    match error {
        AppError::Refused(refusal) => {
            anyhow!("不能重试：{}。当前的任务见 hexiao jobs list", refusal.message)
        }
        other => anyhow!("不能重试：{}", other.log_text()),
    }
}
