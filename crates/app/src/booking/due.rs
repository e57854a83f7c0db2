//! What happens to bookings by itself: holds end, nobody came, who came was not redeemed; and reminders.

use std::collections::BTreeMap;

use hexiao_core::booking::when_due;
use hexiao_core::id::{BookingId, MerchantId, VoucherId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::bookings::{self, Named};
use hexiao_db::orders::Actor;
use hexiao_db::{Tx, outbox, transact};

use super::end::{Ending, end};
use super::{slot_text, told};
use crate::context::App;
use crate::error::Result;
use crate::messages::Happened;

impl App {
    /// Ends bookings whose time has come; how many. Called by the worker until it answers 0.
    pub async fn end_due_bookings(&self, limit: u32) -> Result<usize> {
        let due = bookings::due(self.db.reader(), self.now(), limit).await?;
        let mut ended = 0;
        for (merchant, ids) in by_merchant(due) {
            match self.end_due_of(merchant, &ids).await {
                Ok(count) => ended += count,
                // One that cannot be ended must not keep the others.
                Err(_) if ids.len() > 1 => {
                    for id in &ids {
                        ended += self.end_due_of(merchant, &[*id]).await.unwrap_or_else(|error| {
                            tracing::error!(booking = %id, error = error.log_text(), "cannot end a booking");
                            0
                        });
                    }
                }
                Err(error) => {
                    tracing::error!(booking = ?ids, error = error.log_text(), "cannot end a booking");
                }
            }
        }
        Ok(ended)
    }

    async fn end_due_of(&self, merchant: MerchantScope, ids: &[BookingId]) -> Result<usize> {
        let ended = transact!(self.db, |tx| end_due_in(self, &tx, merchant, ids));
        self.hold_at("booking_end.after_commit").await;
        ended
    }

    /// Reminds customers of their bookings; how many. Called by the worker until it answers 0.
    pub async fn remind_of_bookings(&self, limit: u32) -> Result<usize> {
        let due = bookings::to_remind(self.db.reader(), self.now(), limit).await?;
        let mut reminded = 0;
        for (merchant, ids) in by_merchant(due) {
            let now = self.now();
            let done: Result<usize> = transact!(self.db, |tx| remind_in(&tx, merchant, &ids, now));
            reminded += done?;
        }
        Ok(reminded)
    }
}

fn by_merchant(due: Vec<(MerchantId, BookingId)>) -> Vec<(MerchantScope, Vec<BookingId>)> {
    let mut grouped: BTreeMap<MerchantId, Vec<BookingId>> = BTreeMap::new();
    for (merchant, id) in due {
        grouped.entry(merchant).or_default().push(id);
    }
    grouped.into_iter().map(|(merchant, ids)| (MerchantScope::of_system(merchant), ids)).collect()
}

/// Order of locks: vouchers, slots.
async fn end_due_in(app: &App, tx: &Tx, merchant: MerchantScope, ids: &[BookingId]) -> Result<usize> {
    let mut vouchers: Vec<VoucherId> =
        bookings::of(tx, merchant, ids).await?.iter().map(|n| n.booking.voucher_id).collect();
    vouchers.sort_unstable();
    vouchers.dedup();
    bookings::lock_vouchers(tx, merchant, &vouchers).await?;
    // Somebody may have been faster than the lock.
    let now = app.now();
    let due = |named: &Named| named.booking.due_at.is_some_and(|at| at <= now);
    let mut endings = Vec::new();
    for named in bookings::of(tx, merchant, ids).await?.into_iter().filter(due) {
        if let Some(event) = when_due(named.booking.state, named.booking.redeemed) {
            endings.push(Ending { named, event, actor: Actor::System, note: None });
        }
    }
    if endings.is_empty() {
        return Ok(0);
    }
    end(tx, merchant, &endings, now).await?;
    app.hold_at("booking_end.before_commit").await;
    Ok(endings.len())
}

async fn remind_in(tx: &Tx, merchant: MerchantScope, ids: &[BookingId], now: Timestamp) -> Result<usize> {
    let taken = bookings::take_reminders(tx, merchant, ids, now).await?;
    if taken.is_empty() {
        return Ok(0);
    }
    let found = bookings::of(tx, merchant, &taken).await?;
    let message = |named: &Named| {
        let what = Happened::BookingReminder {
            product_name: named.product_name.clone(),
            store_name: named.store_name.clone(),
            slot: slot_text(named),
        };
        told(named, &what, now)
    };
    outbox::append(tx, found.iter().map(message).collect()).await?;
    Ok(taken.len())
}
