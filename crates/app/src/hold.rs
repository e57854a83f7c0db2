//! Named points at which a crash test stops the process: with `HEXIAO_HOLD_AT=<point>` in development the first task
//! that gets there says so on standard error and waits for ever, so that the test can kill it at exactly that place.

use std::sync::OnceLock;

use crate::context::App;

/// Every point, for the test that kills at each of them.
pub const POINTS: &[&str] = &[
    "order.before_commit",
    "order.after_commit",
    "prepay.before_call",
    "prepay.after_call",
    "settle.before_commit",
    "settle.after_commit",
    "close.before_commit",
    "close.after_commit",
    "confirm.before_commit",
    "confirm.after_commit",
    "reverse.before_commit",
    "reverse.after_commit",
    "device_register.before_commit",
    "device_register.after_commit",
    "device_revoke.before_commit",
    "device_revoke.after_commit",
    "offline.before_commit",
    "offline.after_commit",
    "backfill.before_commit",
    "backfill.after_commit",
    "backfill_approve.before_commit",
    "backfill_approve.after_commit",
    "refund.before_commit",
    "refund.after_commit",
    "refund_submit.before_call",
    "refund_submit.after_call",
    "refund_record.before_commit",
    "refund_record.after_commit",
    "booking.before_commit",
    "booking.after_commit",
    "booking_confirm.before_commit",
    "booking_confirm.after_commit",
    "booking_reschedule.before_commit",
    "booking_reschedule.after_commit",
    "booking_end.before_commit",
    "booking_end.after_commit",
    "withdraw.before_commit",
    "withdraw.after_commit",
    "consent.before_commit",
    "consent.after_commit",
    "fuse.before_commit",
    "fuse.after_commit",
    "maturity.before_commit",
    "maturity.after_commit",
    "expiry.before_commit",
    "expiry.after_commit",
    "reminder.before_commit",
    "reminder.after_commit",
    "inbox.before_commit",
    "inbox.after_commit",
    "job.claimed",
    "webhook_feed.before_commit",
    "webhook_feed.after_commit",
    "webhook_send.before_call",
    "webhook_send.after_call",
    "webhook_record.before_commit",
    "webhook_record.after_commit",
    "commission.before_commit",
    "commission.after_commit",
    "risk.before_commit",
    "risk.after_commit",
];

impl App {
    /// Waits here for ever when a crash test asked for it; otherwise costs a comparison.
    pub(crate) async fn hold_at(&self, point: &'static str) {
        static WANTED: OnceLock<Option<String>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("HEXIAO_HOLD_AT").ok());
        if self.settings.dev && wanted.as_deref() == Some(point) {
            debug_assert!(POINTS.contains(&point));
            eprintln!("holding at {point}");
            std::future::pending::<()>().await;
        }
    }
}
