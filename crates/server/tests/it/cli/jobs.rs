//! `hexiao jobs`: what is dead is listed with its cause, and retried by its id or all at once.

use hexiao_core::id::{Id as _, JobId};
use hexiao_db::{params, row::Row};

use super::*;

async fn on_the_database<T>(url: &str, work: impl AsyncFnOnce(&Db) -> T) -> T {
    let db = Db::connect(url, 2).await.unwrap();
    let answer = work(&db).await;
    db.close().await;
    answer
}

async fn dead_job(url: &str, kind: &str) -> String {
    let id = JobId::from_uuid(uuid::Uuid::now_v7());
    let text = "INSERT INTO jobs (id, merchant_id, kind, subject_id, state, run_at, attempts, runs, lease, asked, error, created_at, finished_at)
                SELECT $1, id, $2, $1, 'Dead', 1, 20, 20, 20, 1, 'database: away', 1, 1 FROM merchants";
    on_the_database(url, async |db| {
        let done: Result<(), DbError> =
            transact!(db, |tx| sql::execute_exactly(&tx, 1, "the job", text, params![id, kind]));
        done.unwrap();
    })
    .await;
    id.to_string()
}

async fn in_state(url: &str, state: &str) -> i64 {
    let text = "SELECT COUNT(*) AS n FROM jobs WHERE state = $1";
    let row: Option<Row> =
        on_the_database(url, async |db| sql::row(db.reader(), text, params![state]).await.unwrap()).await;
    row.unwrap().get("n").unwrap()
}

async fn listed_and_retried(place: &Place, url: &str) {
    let call = |args: &[&str]| place.call(&[args, &["--database-url", url]].concat());
    place.init(PASSWORD, &["--database-url", url]).success();
    assert!(call(&["jobs", "list", "--dead"]).success().contains("没有已停止的任务"));
    assert!(call(&["jobs", "retry", "--all"]).success().contains("没有已停止的任务"));
    assert_eq!(call(&["jobs", "retry"]).code, Some(2), "an id or --all");

    let (first, second) = (dead_job(url, "refund_check").await, dead_job(url, "payment_check").await);
    dead_job(url, "refund_submit").await;
    let out = call(&["jobs", "list", "--dead"]).success();
    for word in [&first, &second, "向微信查询退款结果", "database: away", "hexiao jobs retry"] {
        assert!(out.contains(word), "no {word} in: {out}");
    }
    let out = call(&["jobs", "retry", &first]).success();
    assert!(out.contains("已重新安排") && out.contains("jobs list"), "{out}");
    call(&["jobs", "retry", &first]).refused(&["已被重试"]);
    call(&["jobs", "retry", "job_01h455vb4pex5vsknk084sn02q"]).refused(&["没有找到"]);
    call(&["jobs", "retry", "nonsense"]).refused(&["job_"]);
    assert_eq!((in_state(url, "Dead").await, in_state(url, "Ready").await), (2, 1));

    dead_job(url, "of_another_version").await;
    let unknown = call(&["jobs", "retry", "--all"]);
    assert!(unknown.out.contains("已重新安排 2 个任务"), "{}", unknown.out);
    unknown.refused(&["1 个任务的类型"]);
    assert_eq!((in_state(url, "Dead").await, in_state(url, "Ready").await), (1, 3));
    let out = call(&["jobs", "list"]).success();
    assert!(out.contains("of_another_version") && out.contains("共 4 个"), "{out}");
    call(&["verify"]).success();
}

#[tokio::test]
async fn dead_jobs_are_listed_and_retried_on_sqlite() {
    let place = Place::with_keys();
    listed_and_retried(&place, &place.database_url()).await;
}

#[tokio::test]
async fn dead_jobs_are_listed_and_retried_on_postgres() {
    let database = TestDatabaseUrl::postgres().await;
    listed_and_retried(&Place::with_keys(), &database.url).await;
}
