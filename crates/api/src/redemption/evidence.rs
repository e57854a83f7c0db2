//! The evidence sheet of a voucher, as JSON and as a page to print.
//!
//! The digest is SHA-256 over the facts as JSON with sorted keys and without blanks: two prints with the same digest
//! say the same, and one that was changed does not have it. When it was printed and by whom is not part of the facts.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use hexiao_app::auth::StaffPrincipal;
use hexiao_app::keys::sha256;
use hexiao_core::id::{Id as _, RecordId, RefundId, VoucherId};
use hexiao_core::refund::out_refund_no;
use hexiao_core::text::mask_name;
use hexiao_core::voucher::voucher_status;
use hexiao_db::evidence::{AttemptRow, Evidence, LockRow, MAX_ROWS, Told, UsedRow};
use hexiao_db::ledger::TransferRow;
use hexiao_db::orders::EventRow;
use hexiao_db::payments::Payment;
use hexiao_db::refunds::Refund;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::evidence_page;
use crate::error::ApiResult;
use crate::extract::{Path, Staff};
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(voucher_evidence)).routes(routes!(voucher_evidence_page))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VoucherFacts {
    pub(super) id: String,
    pub(super) product_name: String,
    pub(super) sku_name: String,
    pub(super) code_last4: String,
    pub(super) state: String,
    pub(super) total: u32,
    pub(super) used: u32,
    pub(super) refunded: u32,
    pub(super) locked: u32,
    pub(super) amount_fen: i64,
    pub(super) issued_at: At,
    pub(super) valid_from: At,
    pub(super) valid_to: At,
    /// Of its QR ticket.
    pub(super) version: i64,
    /// Rule it was bought with.
    pub(super) rule_id: i64,
    pub(super) undo_cycles: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderFacts {
    pub(super) id: String,
    pub(super) number: String,
    pub(super) state: String,
    pub(super) store_name: String,
    /// The customer, masked.
    pub(super) customer: String,
    #[schema(required)]
    pub(super) customer_phone: Option<String>,
    pub(super) pay_fen: i64,
    pub(super) placed_at: At,
    #[schema(required)]
    pub(super) paid_at: Option<At>,
    #[schema(required)]
    pub(super) closed_at: Option<At>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PaymentFacts {
    /// WeChat's `out_trade_no`.
    pub(super) out_trade_no: String,
    /// WeChat's own number.
    #[schema(required)]
    pub(super) transaction_id: Option<String>,
    pub(super) method: String,
    pub(super) state: String,
    pub(super) amount_fen: i64,
    #[schema(required)]
    pub(super) paid_at: Option<At>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UseFacts {
    pub(super) serial: u32,
    pub(super) state: String,
    pub(super) amount_fen: i64,
    pub(super) redemption_id: String,
    pub(super) store_name: String,
    pub(super) verifier_id: String,
    pub(super) verifier_name: String,
    #[schema(required)]
    pub(super) device: Option<String>,
    pub(super) method: String,
    pub(super) occurred_at: At,
    pub(super) recorded_at: At,
    #[schema(required)]
    pub(super) reversed_at: Option<At>,
    #[schema(required)]
    pub(super) reversed_by: Option<String>,
    #[schema(required)]
    pub(super) reverse_reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptFacts {
    pub(super) at: At,
    pub(super) store_name: String,
    pub(super) verifier_id: String,
    pub(super) verifier_name: String,
    #[schema(required)]
    pub(super) device: Option<String>,
    pub(super) step: String,
    pub(super) method: String,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundFacts {
    pub(super) id: String,
    /// WeChat's `out_refund_no`, of the last number that was used.
    pub(super) out_refund_no: String,
    /// WeChat's own number.
    #[schema(required)]
    pub(super) wechat_refund_id: Option<String>,
    pub(super) state: String,
    pub(super) cause: String,
    pub(super) reason: String,
    /// Of the whole refund, which may be of several vouchers.
    pub(super) amount_fen: i64,
    pub(super) asked_at: At,
    #[schema(required)]
    pub(super) submitted_at: Option<At>,
    #[schema(required)]
    pub(super) succeeded_at: Option<At>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LockFacts {
    /// refund or booking.
    pub(super) kind: String,
    pub(super) owner_id: String,
    pub(super) serials: Vec<u32>,
    pub(super) amount_fen: i64,
    pub(super) state: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransferFacts {
    pub(super) at: At,
    pub(super) event: String,
    pub(super) debit: String,
    pub(super) credit: String,
    pub(super) amount_fen: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventFacts {
    pub(super) at: At,
    pub(super) event: String,
    pub(super) actor: String,
    #[schema(required)]
    pub(super) note: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageFacts {
    pub(super) at: At,
    pub(super) title: String,
    #[schema(required)]
    pub(super) read_at: Option<At>,
}

/// What is recorded. Everything but the voucher, its uses, attempts and locks is of the whole order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Facts {
    pub(super) voucher: VoucherFacts,
    pub(super) order: OrderFacts,
    #[schema(required)]
    pub(super) payment: Option<PaymentFacts>,
    pub(super) uses: Vec<UseFacts>,
    /// What was refused.
    pub(super) attempts: Vec<AttemptFacts>,
    pub(super) refunds: Vec<RefundFacts>,
    pub(super) locks: Vec<LockFacts>,
    pub(super) order_events: Vec<EventFacts>,
    pub(super) transfers: Vec<TransferFacts>,
    pub(super) messages: Vec<MessageFacts>,
    /// False when there is more of a kind than a sheet holds (1,000 rows, 500 events).
    pub(super) complete: bool,
}

/// The sheet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvidenceView {
    pub(super) facts: Facts,
    /// SHA-256, in hexadecimal, of the facts as JSON with sorted keys and without blanks.
    pub(super) digest: String,
    pub(super) printed_at: At,
    pub(super) printed_by: String,
}

impl From<UsedRow> for UseFacts {
    fn from(u: UsedRow) -> Self {
        Self {
            serial: u.serial,
            state: u.state.to_string(),
            amount_fen: u.amount.as_fen(),
            redemption_id: u.redemption_id.to_string(),
            store_name: u.store_name,
            verifier_id: u.staff_id.to_string(),
            verifier_name: u.staff_name,
            device: u.device,
            method: u.method,
            occurred_at: at(u.occurred_at),
            recorded_at: at(u.recorded_at),
            reversed_at: at_opt(u.reversed_at),
            reversed_by: u.reversed_by,
            reverse_reason: u.reverse_reason,
        }
    }
}

impl From<AttemptRow> for AttemptFacts {
    fn from(a: AttemptRow) -> Self {
        Self {
            at: at(a.at),
            store_name: a.store_name,
            verifier_id: a.staff_id.to_string(),
            verifier_name: a.staff_name,
            device: a.device,
            step: a.step,
            method: a.method,
            reason: a.reason,
            message: a.message,
        }
    }
}

impl From<Refund> for RefundFacts {
    fn from(r: Refund) -> Self {
        Self {
            out_refund_no: out_refund_no(r.id, r.attempt),
            id: r.id.to_string(),
            wechat_refund_id: r.wechat_refund_id,
            state: r.state.to_string(),
            cause: r.cause.to_string(),
            reason: r.reason,
            amount_fen: r.amount.as_fen(),
            asked_at: at(r.created_at),
            submitted_at: at_opt(r.submitted_at),
            succeeded_at: at_opt(r.succeeded_at),
        }
    }
}

impl From<LockRow> for LockFacts {
    fn from(l: LockRow) -> Self {
        let owner_id = match l.kind.as_str() {
            "refund" => RefundId::from_uuid(l.owner_id).to_string(),
            _ => RecordId::from_uuid(l.owner_id).to_string(),
        };
        Self {
            kind: l.kind,
            owner_id,
            serials: l.serials,
            amount_fen: l.amount.as_fen(),
            state: l.state.to_string(),
        }
    }
}

impl From<TransferRow> for TransferFacts {
    fn from(t: TransferRow) -> Self {
        let (debit, credit) = (t.debit, t.credit);
        Self { at: at(t.at), event: t.event, debit, credit, amount_fen: t.amount.as_fen() }
    }
}

impl From<EventRow> for EventFacts {
    fn from(e: EventRow) -> Self {
        Self { at: at(e.at), event: e.event, actor: e.actor, note: e.note }
    }
}

impl From<Told> for MessageFacts {
    fn from(m: Told) -> Self {
        Self { at: at(m.at), title: m.title, read_at: at_opt(m.read_at) }
    }
}

impl From<Payment> for PaymentFacts {
    fn from(p: Payment) -> Self {
        Self {
            out_trade_no: p.id.to_string(),
            transaction_id: p.transaction_id,
            method: p.method.to_string(),
            state: p.state.to_string(),
            amount_fen: p.amount.as_fen(),
            paid_at: at_opt(p.paid_at),
        }
    }
}

fn all<R, V: From<R>>(rows: Vec<R>) -> Vec<V> {
    rows.into_iter().map(V::from).collect()
}

fn facts(e: Evidence) -> Facts {
    let most = usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
    let longest =
        [e.uses.len(), e.attempts.len(), e.locks.len(), e.transfers.len(), e.told.len(), 2 * e.events.len()];
    let (v, o) = (e.voucher, e.order);
    Facts {
        complete: longest.into_iter().all(|n| n < most),
        voucher: VoucherFacts {
            id: v.id.to_string(),
            // As it is stored: whether it has expired meanwhile is no fact of the record.
            state: voucher_status(v.state, v.counters, false).to_string(),
            product_name: v.product_name,
            sku_name: v.sku_name,
            code_last4: v.code_last4,
            total: v.counters.total,
            used: v.counters.used,
            refunded: v.counters.refunded,
            locked: v.counters.locked_refund + v.counters.locked_booking,
            amount_fen: v.amount.as_fen(),
            issued_at: at(v.created_at),
            valid_from: at(v.valid_from),
            valid_to: at(v.valid_to),
            version: v.version,
            rule_id: v.rule_id,
            undo_cycles: v.undo_cycles,
        },
        order: OrderFacts {
            id: o.id.to_string(),
            number: o.number,
            state: o.state.to_string(),
            store_name: e.store_name,
            customer: mask_name(&e.customer.0),
            customer_phone: e.customer.1,
            pay_fen: o.pay.as_fen(),
            placed_at: at(o.created_at),
            paid_at: at_opt(o.paid_at),
            closed_at: at_opt(o.closed_at),
        },
        payment: e.payment.map(Into::into),
        uses: all(e.uses),
        attempts: all(e.attempts),
        refunds: all(e.refunds),
        locks: all(e.locks),
        order_events: all(e.events),
        transfers: all(e.transfers),
        messages: all(e.told),
    }
}

async fn sheet(state: &ApiState, staff: &StaffPrincipal, id: VoucherId) -> ApiResult<EvidenceView> {
    let facts = facts(state.app.voucher_evidence(staff, id).await?);
    // serde_json's own maps are sorted by key.
    let canonical = serde_json::to_value(&facts).unwrap_or_default().to_string();
    let hex = |byte: &u8| format!("{byte:02x}");
    let digest = sha256(canonical.as_bytes()).iter().map(hex).collect::<Vec<_>>().concat();
    let (printed_at, printed_by) = (at(state.app.now()), staff.name.to_string());
    Ok(EvidenceView { facts, digest, printed_at, printed_by })
}

/// Everything that is recorded of a voucher. Who looked is written to the audit log.
#[utoipa::path(get, path = "/api/v1/merchant/vouchers/{id}/evidence", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = EvidenceView)))]
async fn voucher_evidence(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<VoucherId>,
) -> ApiResult<JsonBody<EvidenceView>> {
    Ok(JsonBody(sheet(&state, &staff, id).await?))
}

/// The same as a page to print, in Chinese, without scripts.
#[utoipa::path(get, path = "/api/v1/merchant/vouchers/{id}/evidence.html", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = String, content_type = "text/html")))]
async fn voucher_evidence_page(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<VoucherId>,
) -> ApiResult<Response> {
    let page = evidence_page::page(&sheet(&state, &staff, id).await?);
    let nothing_but_style = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, nothing_but_style), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Html(page)).into_response())
}
