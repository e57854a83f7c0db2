//! What time brings, for many rows at once: uses that mature, vouchers that expire, customers to remind.
//!
//! Each kind has an index that names what is due, and takes a bounded part of it in one round. The worker makes one
//! round of each kind on every tick, however much is due: a hundred thousand vouchers that end at midnight are settled
//! steadily, and nobody at a counter waits for them. There is no other state: what was not done is still due.

use std::collections::BTreeMap;

use hexiao_core::id::MerchantId;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::{Tx, transact};

use crate::context::App;
use crate::error::{AppError, Result};

/// Something that is due for many rows.
pub(crate) trait Bulk {
    /// What names a row.
    type Row: Copy + Send + Sync;
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// Rows of one transaction: a few dozen milliseconds of SQLite's writer at most.
    const SET: usize;
    /// Where a crash test stops.
    const AFTER_COMMIT: &'static str;

    /// What is due, a bounded part of it.
    fn due(app: &App, now: Timestamp) -> impl Future<Output = Result<Vec<(MerchantId, Self::Row)>>> + Send;

    /// Does it for some rows of a merchant, as far as it is still due under their locks; how many there were.
    fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        rows: &[Self::Row],
        now: Timestamp,
    ) -> impl Future<Output = Result<usize>> + Send;
}

/// One round; how much was done.
pub(crate) async fn round<B: Bulk>(app: &App) -> Result<usize> {
    let now = app.now();
    let mut merchants: BTreeMap<MerchantId, Vec<B::Row>> = BTreeMap::new();
    for (merchant_id, row) in B::due(app, now).await? {
        merchants.entry(merchant_id).or_default().push(row);
    }
    let mut done = 0;
    for (merchant_id, rows) in merchants {
        for set in rows.chunks(B::SET) {
            done += set_or_each::<B>(app, MerchantScope::of_system(merchant_id), set, now).await?;
        }
    }
    Ok(done)
}

/// A row that cannot be done must not keep its neighbours: where a set fails, each of its rows is done by itself.
async fn set_or_each<B: Bulk>(
    app: &App,
    merchant: MerchantScope,
    set: &[B::Row],
    now: Timestamp,
) -> Result<usize> {
    let error = match commit::<B>(app, merchant, set, now).await {
        Ok(done) => return Ok(done),
        // Nobody gains from asking again for each row.
        Err(AppError::Db(error)) if error.is_unavailable() => return Err(error.into()),
        Err(error) => error,
    };
    tracing::warn!(work = B::NAME, size = set.len(), error = error.log_text(), "a set failed");
    let mut done = 0;
    for row in set.iter().filter(|_| set.len() > 1) {
        match commit::<B>(app, merchant, std::slice::from_ref(row), now).await {
            Ok(one) => done += one,
            Err(AppError::Db(error)) if error.is_unavailable() => return Err(error.into()),
            Err(error) => {
                tracing::error!(work = B::NAME, error = error.log_text(), "a row is due and cannot be done");
            }
        }
    }
    Ok(done)
}

async fn commit<B: Bulk>(
    app: &App,
    merchant: MerchantScope,
    set: &[B::Row],
    now: Timestamp,
) -> Result<usize> {
    let done: Result<usize> = transact!(app.db, |tx| B::run(app, &tx, merchant, set, now));
    if let Ok(count) = done
        && count > 0
    {
        app.hold_at(B::AFTER_COMMIT).await;
        metrics::counter!("bulk_rows_total", "work" => B::NAME).increment(u64::try_from(count).unwrap_or(0));
        app.wake.notify_one();
    }
    done
}
