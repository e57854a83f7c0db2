//! Tests of the schema, of the plumbing and of `verify`.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod outbox;
mod verify;

use hexiao_core::id::{Id, MerchantId};
use hexiao_db::{Db, DbError, Result, migrate, new_row, params, sql, transact};

async fn empty() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::connect(&format!("sqlite://{}/x.db", dir.path().display()), 4).await.unwrap();
    (dir, db)
}

#[tokio::test]
async fn migrates_from_empty_twice_and_is_checked() {
    let (_dir, db) = empty().await;
    assert!(migrate::check(&db).await.is_err());
    migrate::migrate(&db).await.unwrap();
    migrate::migrate(&db).await.unwrap();
    migrate::check(&db).await.unwrap();
}

#[tokio::test]
async fn a_write_rolls_back_on_an_error() {
    let (_dir, db) = empty().await;
    migrate::migrate(&db).await.unwrap();
    let id = MerchantId::from_uuid(uuid::Uuid::from_u128(7));
    let insert = async |tx: &hexiao_db::Tx, fail: bool| -> Result<()> {
        let row = new_row! { id: id, tag: [0u8; 8], name: "n", state: "Approved", zone: "Asia/Shanghai", cutoff_hour: 0i64, order_ttl_s: 900i64, refund_hold_s: 0i64, created_at: 0i64 };
        sql::insert_one(tx, "merchants", row).await?;
        if fail { Err(DbError::Setup("no".into())) } else { Ok(()) }
    };
    let write = async |fail: bool| transact!(db, |tx| insert(&tx, fail));
    assert!(write(true).await.is_err());
    assert!(
        sql::row(db.reader(), "SELECT id FROM merchants WHERE id = $1", params![id]).await.unwrap().is_none()
    );
    write(false).await.unwrap();
    let row =
        sql::row(db.reader(), "SELECT id FROM merchants WHERE id = $1", params![id]).await.unwrap().unwrap();
    assert_eq!(row.get::<MerchantId>("id").unwrap(), id);
    let error = write(false).await.unwrap_err();
    assert!(error.is_unique_violation("merchants"), "{error:?}");
}
