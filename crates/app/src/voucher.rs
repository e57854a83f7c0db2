//! Vouchers: issuing them at payment, and showing their code and signed ticket to their customer.

use std::collections::{BTreeMap, HashSet};

use hexiao_core::code::VoucherCode;
use hexiao_core::id::{Id as _, OrderId};
use hexiao_core::money::Money;
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use hexiao_core::split::split_by_largest_remainder;
use hexiao_core::ticket::{Ticket, TicketKind};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::{Counters, VoucherState};
use hexiao_db::merchants::Merchant;
use hexiao_db::orders::{Line, Order};
use hexiao_db::vouchers::{self, Voucher};
use hexiao_db::{DbError, Tx, catalog};

use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id};

/// Issues one voucher for each unit of the lines of orders that were just paid; when those of
/// each order end, and whether that may move.
pub(crate) async fn issue_vouchers(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    orders: &[&Order],
    lines: &[Line],
    now: Timestamp,
) -> Result<BTreeMap<OrderId, Vec<(Timestamp, bool)>>> {
    let rules = catalog::rules(tx, merchant, lines.iter().map(|l| l.rule_id)).await?;
    let by_id: BTreeMap<OrderId, &Order> = orders.iter().map(|o| (o.id, *o)).collect();
    let units: i64 = lines.iter().map(|l| i64::from(l.quantity)).sum();
    let mut codes = fresh_codes(app, tx, merchant, usize::try_from(units).unwrap_or(0)).await?;
    let mut issued = Vec::new();
    let mut ends: BTreeMap<OrderId, Vec<(Timestamp, bool)>> = BTreeMap::new();
    for line in lines {
        let (Some(order), Some(rule)) = (by_id.get(&line.order_id), rules.get(&line.rule_id)) else {
            return Err(AppError::Internal(format!("line {} has no order or rule", line.id)));
        };
        let (valid_from, valid_to) = rule.validity_from(now);
        ends.entry(order.id).or_default().push((valid_to, rule.end_moves()));
        let weights = vec![1; usize::try_from(line.quantity).unwrap_or(0)];
        let amounts = split_by_largest_remainder(line.pay.as_fen(), &weights).unwrap_or_default();
        for (unit_no, amount) in (1..).zip(amounts) {
            let code = codes.pop().ok_or_else(|| AppError::Internal("too few codes".to_owned()))?;
            issued.push(Voucher {
                unit_no,
                amount: Money::fen(amount),
                valid_from,
                valid_to,
                ..unissued(app, order, line, &code, now)
            });
        }
    }
    vouchers::insert(tx, &issued).await.map_err(code_taken)?;
    Ok(ends)
}

/// Another transaction issued the same code since we looked: draw again.
fn code_taken(error: DbError) -> DbError {
    if error.is_unique_violation("code_hash") { DbError::Stale("voucher code") } else { error }
}

/// Codes that the merchant does not use yet.
async fn fresh_codes(app: &App, tx: &Tx, merchant: MerchantScope, count: usize) -> Result<Vec<VoucherCode>> {
    let pepper = app.keys.peppers.current();
    let mut codes: Vec<VoucherCode> = Vec::with_capacity(count);
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    while codes.len() < count {
        let drawn: Vec<VoucherCode> =
            (codes.len()..count).map(|_| VoucherCode::from_entropy(entropy())).collect();
        let hashes: Vec<Vec<u8>> = drawn.iter().map(|c| pepper.hash(c).0.to_vec()).collect();
        let taken = vouchers::taken_hashes(tx, merchant, &hashes).await?;
        let fresh = drawn
            .into_iter()
            .zip(hashes)
            .filter(|(_, hash)| !taken.contains(hash) && seen.insert(hash.clone()));
        codes.extend(fresh.map(|(code, _)| code));
    }
    Ok(codes)
}

fn unissued(app: &App, order: &Order, line: &Line, code: &VoucherCode, now: Timestamp) -> Voucher {
    let id: hexiao_core::id::VoucherId = new_id();
    let pepper = app.keys.peppers.current();
    Voucher {
        merchant_id: order.merchant_id,
        id,
        order_id: order.id,
        line_id: line.id,
        unit_no: 0,
        customer_id: order.customer_id,
        store_id: order.store_id,
        product_id: line.product_id,
        sku_id: line.sku_id,
        product_name: line.product_name.clone(),
        sku_name: line.sku_name.clone(),
        state: VoucherState::Live,
        counters: Counters { total: line.uses, ..Counters::default() },
        amount: Money::ZERO,
        rule_id: line.rule_id,
        valid_from: now,
        valid_to: now,
        code_hash: pepper.hash(code).0.to_vec(),
        pepper_id: i64::from(hexiao_core::code::Keyed::id(pepper)),
        code_cipher: app.keys.code_keys.seal(code, entropy(), id.uuid().as_bytes()),
        code_last4: code.last4().to_owned(),
        version: 1,
        undo_cycles: 0,
        created_at: now,
    }
}

/// What a customer shows at the counter.
#[derive(Clone)]
pub struct Shown {
    /// Twelve digits.
    pub code: String,
    /// The same, 4-4-4.
    pub code_display: String,
    /// The signed ticket, for a QR code.
    pub qr: String,
}

impl App {
    /// The code and ticket of a voucher. For its own customer only; the caller has checked that.
    pub fn show_voucher(
        &self,
        merchant: &Merchant,
        voucher: &Voucher,
        rule: &RedemptionRule,
    ) -> Result<Shown> {
        let code = self.keys.code_keys.open(&voucher.code_cipher, voucher.id.uuid().as_bytes())?;
        let ticket = Ticket {
            kind: TicketKind::Voucher,
            merchant_tag: merchant.tag,
            subject_id: voucher.id.uuid(),
            version: u16::try_from(voucher.version).unwrap_or(u16::MAX),
            rule_id: voucher.rule_id,
            valid_from_min: minutes(voucher.valid_from),
            valid_to_min: minutes(rule.latest_valid_to(voucher.valid_from).max(voucher.valid_to)),
            uses: u16::try_from(voucher.counters.total).unwrap_or(u16::MAX),
        };
        Ok(Shown {
            code: code.digits().to_owned(),
            code_display: code.display(),
            qr: ticket.sign(&self.keys.ticket_signer),
        })
    }

    /// The signed ticket of a whole order: lists all its vouchers at the counter.
    pub fn show_order(&self, merchant: &Merchant, order_id: OrderId) -> String {
        let ticket = Ticket {
            kind: TicketKind::Order,
            merchant_tag: merchant.tag,
            subject_id: order_id.uuid(),
            version: 1,
            rule_id: 0,
            valid_from_min: 0,
            valid_to_min: u32::MAX,
            uses: 0,
        };
        ticket.sign(&self.keys.ticket_signer)
    }
}

fn minutes(at: Timestamp) -> u32 {
    u32::try_from(at.seconds() / 60).unwrap_or(u32::MAX)
}
