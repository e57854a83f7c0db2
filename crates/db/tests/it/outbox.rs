//! The outbox across a restore into another cluster: each event is read once by each consumer, in its order.

use hexiao_core::id::{Id as _, MerchantId};
use hexiao_core::time::Timestamp;
use hexiao_db::outbox::{self, NewEvent};
use hexiao_db::{Db, DbError, migrate, sql, transact};
use uuid::Uuid;

use crate::verify::postgres::{self, TestDatabase};

/// An old cluster that had seen many more transactions.
const OLDER: &str = "UPDATE outbox SET tx = tx + 1000000000000 WHERE tx > 0;
    UPDATE consumer_positions SET tx = tx + 1000000000000 WHERE tx > 0";

enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

impl Place {
    async fn sqlite() -> Self {
        let place = Self::Sqlite(tempfile::tempdir().unwrap());
        migrate::migrate(&place.db().await).await.unwrap();
        place
    }

    async fn postgres() -> Self {
        let fill = async |url: &str| Ok(migrate::migrate(&Db::connect(url, 4).await?).await?);
        let key = format!("outbox {}", migrate::fingerprint());
        Self::Postgres(postgres::create_database(&key, fill).await.unwrap())
    }

    async fn db(&self) -> Db {
        let url = match self {
            Self::Sqlite(dir) => format!("sqlite://{}/x.db", dir.path().display()),
            Self::Postgres(database) => database.url.clone(),
        };
        Db::connect(&url, 4).await.unwrap()
    }
}

/// Each in a transaction of its own.
async fn append(db: &Db, names: &[&'static str]) {
    for topic in names {
        let event = NewEvent {
            merchant_id: MerchantId::from_uuid(Uuid::nil()),
            topic,
            subject_id: Uuid::nil(),
            payload: String::new(),
            at: Timestamp::from_micros(1),
        };
        let done: Result<(), DbError> =
            transact!(db, |tx| async { outbox::append(&tx, vec![event.clone()]).await });
        done.unwrap();
    }
}

/// Consumers stop before the oldest transaction that runs anywhere in the cluster, and other tests have theirs there:
/// waits until those that were running when ours committed are over.
async fn until_visible(db: &Db) {
    if db.has_one_writer() {
        return;
    }
    let text = "SELECT COUNT(*) AS n FROM outbox
        WHERE tx < 1000000000000 AND tx >= (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while sql::row(db.reader(), text, vec![]).await.unwrap().unwrap().get::<i64>("n").unwrap() > 0 {
        assert!(std::time::Instant::now() < deadline, "somebody's transaction does not end");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn read(db: &Db, consumer: &str, limit: u32) -> Vec<String> {
    until_visible(db).await;
    let events: Result<_, DbError> = transact!(db, |tx| outbox::take(&tx, consumer, limit));
    let any = outbox::any_new(db.reader(), consumer).await.unwrap();
    let events: Vec<outbox::Event> = events.unwrap();
    assert!(!any || events.len() == usize::try_from(limit).unwrap(), "more is known of after the last");
    events.into_iter().map(|event| event.topic).collect()
}

async fn rebase(db: &Db) -> bool {
    let done: Result<bool, DbError> = transact!(db, |tx| async { outbox::rebase(&tx).await });
    done.unwrap()
}

async fn execute(db: &Db, texts: &str) {
    for text in texts.split(';') {
        let done: Result<u64, DbError> = transact!(db, |tx| sql::execute(&tx, text, vec![]));
        done.unwrap();
    }
}

async fn restored(place: Place) {
    let (db, moved) = (place.db().await, matches!(place, Place::Postgres(_)));
    append(&db, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(read(&db, "slow", 2).await, ["a", "b"]);
    assert_eq!(read(&db, "quick", 9).await, ["a", "b", "c", "d", "e"]);
    assert!(!rebase(&db).await, "nothing is foreign");

    execute(&db, OLDER).await;
    assert_eq!(outbox::is_foreign(db.reader()).await.unwrap(), moved);
    // By a server that had not looked.
    append(&db, &["f", "g"]).await;
    assert_eq!(rebase(&db).await, moved);
    assert!(!outbox::is_foreign(db.reader()).await.unwrap());
    assert!(!rebase(&db).await, "once is enough");
    append(&db, &["h"]).await;
    assert_eq!(read(&db, "slow", 4).await, ["c", "d", "e", "f"]);
    assert_eq!(read(&db, "quick", 9).await, ["f", "g", "h"]);
    assert_eq!(read(&db, "late", 9).await, ["a", "b", "c", "d", "e", "f", "g", "h"]);

    // And the same again with what was renumbered once.
    execute(&db, OLDER).await;
    assert_eq!(rebase(&db).await, moved);
    append(&db, &["i"]).await;
    assert_eq!(read(&db, "slow", 9).await, ["g", "h", "i"]);
    assert_eq!(read(&db, "quick", 9).await, ["i"]);
    assert_eq!(read(&db, "later", 9).await, ["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    let before = Timestamp::from_micros(2);
    let pruned: Result<u64, DbError> =
        transact!(db, |tx| outbox::prune(&tx, &["slow", "quick"], before, 100));
    assert_eq!(pruned.unwrap(), 8, "the late one has not read i");
}

#[tokio::test]
async fn a_restored_outbox_loses_and_repeats_nothing_on_postgres() {
    restored(Place::postgres().await).await;
}

#[tokio::test]
async fn an_outbox_without_transactions_is_left_alone_on_sqlite() {
    restored(Place::sqlite().await).await;
}

#[tokio::test]
async fn rows_that_were_numbered_out_of_order_keep_their_order() {
    let place = Place::postgres().await;
    let db = place.db().await;
    append(&db, &["a", "b", "c"]).await;
    // `a` came from a transaction that began after that of `b`.
    execute(&db, "UPDATE outbox SET tx = 1000000000001 WHERE topic = 'b'; UPDATE outbox SET tx = 1000000000002 WHERE topic <> 'b'").await;
    execute(&db, "INSERT INTO consumer_positions (consumer, tx, seq) SELECT 'x', tx, seq FROM outbox WHERE topic = 'b'").await;
    assert!(rebase(&db).await);
    assert_eq!(read(&db, "x", 9).await, ["a", "c"]);
}

#[tokio::test]
async fn a_position_alone_is_rebased_too() {
    let place = Place::postgres().await;
    let db = place.db().await;
    append(&db, &["a"]).await;
    assert_eq!(read(&db, "x", 9).await, ["a"]);
    execute(&db, OLDER).await;
    execute(&db, "DELETE FROM outbox").await;
    append(&db, &["b"]).await;
    assert!(read(&db, "x", 9).await.is_empty(), "this is what goes wrong without it");
    assert!(rebase(&db).await);
    assert_eq!(read(&db, "x", 9).await, ["b"]);
}

mod race {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_several_that_start_at_once_one_rebases() {
        let place = Place::postgres().await;
        let db = place.db().await;
        append(&db, &["a", "b", "c"]).await;
        assert_eq!(read(&db, "x", 1).await, ["a"]);
        execute(&db, OLDER).await;
        let mut starting = Vec::new();
        for _ in 0..6 {
            let db = place.db().await;
            starting.push(tokio::spawn(async move {
                let did = rebase(&db).await;
                append(&db, &["new"]).await;
                did
            }));
        }
        let (mut did, mut seen) = (0, Vec::new());
        for task in starting {
            seen.extend(read(&db, "x", 1).await);
            did += u32::from(task.await.unwrap());
        }
        seen.extend(read(&db, "x", 100).await);
        assert_eq!(did, 1);
        assert_eq!(seen, ["b", "c", "new", "new", "new", "new", "new", "new"]);
    }
}

async fn counted(place: Place) {
    let db = place.db().await;
    assert!(outbox::unread(db.reader()).await.unwrap().is_empty(), "nobody has read yet");
    append(&db, &["a", "b", "c"]).await;
    assert_eq!(read(&db, "quick", 9).await, ["a", "b", "c"]);
    assert_eq!(read(&db, "slow", 1).await, ["a"]);
    append(&db, &["d"]).await;
    let mut unread = outbox::unread(db.reader()).await.unwrap();
    unread.sort();
    assert_eq!(unread, [("quick".to_owned(), 1), ("slow".to_owned(), 3)]);
}

#[tokio::test]
async fn unread_rows_are_counted_for_each_consumer_on_sqlite() {
    counted(Place::sqlite().await).await;
}

#[tokio::test]
async fn unread_rows_are_counted_for_each_consumer_on_postgres() {
    counted(Place::postgres().await).await;
}
