//! The serials of every voucher: who took which, and what it was worth. The rule of worth is the domain's own
//! ([`use_value_fen`]), so this is a stream in pages rather than a statement.

use std::collections::{BTreeMap, HashMap};

use hexiao_core::id::{Id, LockId, MerchantId, UseId, VoucherId};
use hexiao_core::split::use_value_fen;
use hexiao_core::voucher::{LockState, UseState};
use uuid::Uuid;

use super::Found;
use crate::params;
use crate::pool::{Result, Snapshot};
use crate::row::{FromRow, Row};
use crate::sql;

/// Vouchers of one page. A voucher has at most 1,000 uses, nearly always a few.
const PAGE: usize = 2_000;

const VOUCHERS: &str = "
    SELECT merchant_id, id, total, amount_fen FROM vouchers
    WHERE (merchant_id, id) > ($1, $2) ORDER BY merchant_id, id";
const USES: &str = "
    SELECT merchant_id, voucher_id, id, serial, amount_fen, state FROM uses
    WHERE (merchant_id, voucher_id) > ($1, $2) AND (merchant_id, voucher_id) <= ($3, $4)
    ORDER BY merchant_id, voucher_id, id";
const LOCKS: &str = "
    SELECT merchant_id, voucher_id, id, kind, serials, quantity, amount_fen, state FROM voucher_locks
    WHERE (merchant_id, voucher_id) > ($1, $2) AND (merchant_id, voucher_id) <= ($3, $4)
    ORDER BY merchant_id, voucher_id, id";

type Key = (Uuid, Uuid);

struct Voucher {
    key: Key,
    total: i64,
    amount_fen: i64,
}

impl FromRow for Voucher {
    fn from_row(row: &Row) -> Result<Self> {
        let key = (row.get("merchant_id")?, row.get("id")?);
        Ok(Self { key, total: row.get("total")?, amount_fen: row.get("amount_fen")? })
    }
}

struct Use {
    voucher: Key,
    id: UseId,
    serial: i64,
    amount_fen: i64,
    state: UseState,
}

impl FromRow for Use {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            voucher: (row.get("merchant_id")?, row.get("voucher_id")?),
            id: row.get("id")?,
            serial: row.get("serial")?,
            amount_fen: row.get("amount_fen")?,
            state: row.get("state")?,
        })
    }
}

struct Lock {
    voucher: Key,
    id: LockId,
    /// A consumed booking's serials live on as the uses that it became; those of others are taken for ever.
    is_booking: bool,
    /// Text: a broken one is a broken row, not an error.
    serials: String,
    quantity: i64,
    amount_fen: i64,
    state: LockState,
}

impl FromRow for Lock {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            voucher: (row.get("merchant_id")?, row.get("voucher_id")?),
            id: row.get("id")?,
            is_booking: row.get::<String>("kind")? == "booking",
            serials: row.get("serials")?,
            quantity: row.get("quantity")?,
            amount_fen: row.get("amount_fen")?,
            state: row.get("state")?,
        })
    }
}

pub(super) async fn prove(snapshot: &Snapshot) -> Result<Found> {
    let mut found = Found::default();
    let mut after = (Uuid::nil(), Uuid::nil());
    let vouchers = format!("{VOUCHERS} LIMIT {PAGE}");
    loop {
        let page: Vec<Voucher> = sql::list(snapshot, &vouchers, params![after.0, after.1]).await?;
        let Some(last) = page.last().map(|v| v.key) else { return Ok(found) };
        let range = || params![after.0, after.1, last.0, last.1];
        let uses: Vec<Use> = sql::list(snapshot, USES, range()).await?;
        let locks: Vec<Lock> = sql::list(snapshot, LOCKS, range()).await?;
        prove_page(&mut found, &page, &uses, &locks);
        after = last;
    }
}

/// Which serials of a voucher are taken, and by whom.
struct Taken<'a> {
    voucher: &'a Voucher,
    by: BTreeMap<i64, String>,
}

impl Taken<'_> {
    /// What is wrong with taking a serial, if anything is.
    fn take(&mut self, serial: i64, by: String) -> Option<String> {
        if let Some(other) = self.by.get(&serial) {
            return Some(format!("serial {serial} is taken by {other} as well"));
        }
        self.by.insert(serial, by);
        None
    }

    fn is_serial(&self, serial: i64) -> bool {
        (1..=self.voucher.total).contains(&serial)
    }

    /// What serials are worth together; 0 for one that the voucher does not have.
    fn worth_fen(&self, serials: &[i64]) -> i64 {
        let total = u32::try_from(self.voucher.total).unwrap_or(0);
        let worth = |serial: &i64| {
            u32::try_from(*serial).map_or(0, |s| use_value_fen(self.voucher.amount_fen, total, s))
        };
        serials.iter().map(worth).fold(0, i64::saturating_add)
    }
}

fn prove_page(found: &mut Found, page: &[Voucher], uses: &[Use], locks: &[Lock]) {
    let mut vouchers: HashMap<Key, Taken<'_>> =
        page.iter().map(|voucher| (voucher.key, Taken { voucher, by: BTreeMap::new() })).collect();
    for row in uses {
        // A page holds every voucher of its range: a use without one is the foreign key's business.
        let Some(taken) = vouchers.get_mut(&row.voucher) else { continue };
        if let Some(detail) = wrong_use(taken, row) {
            found.push("uses", MerchantId::from_uuid(row.voucher.0), &row.id, detail);
        }
    }
    for row in locks {
        let Some(taken) = vouchers.get_mut(&row.voucher) else { continue };
        if let Some(detail) = wrong_lock(taken, row) {
            found.push("voucher_locks", MerchantId::from_uuid(row.voucher.0), &row.id, detail);
        }
    }
}

fn wrong_use(taken: &mut Taken<'_>, row: &Use) -> Option<String> {
    let of = VoucherId::from_uuid(row.voucher.1);
    if !taken.is_serial(row.serial) {
        return Some(format!("serial {} of {of}, which has {}", row.serial, taken.voucher.total));
    }
    let worth = taken.worth_fen(&[row.serial]);
    if row.amount_fen != worth {
        return Some(format!(
            "serial {} of {of} for {} fen; it is worth {worth}",
            row.serial, row.amount_fen
        ));
    }
    match row.state {
        UseState::Done | UseState::Matured | UseState::Settled => taken.take(row.serial, row.id.to_string()),
        UseState::Reversed | UseState::ClawedBack => None,
    }
}

fn wrong_lock(taken: &mut Taken<'_>, row: &Lock) -> Option<String> {
    let Ok(serials) = serde_json::from_str::<Vec<i64>>(&row.serials) else {
        return Some("its serials are no array of numbers".to_owned());
    };
    let of = VoucherId::from_uuid(row.voucher.1);
    if usize::try_from(row.quantity).ok() != Some(serials.len()) {
        return Some(format!("{} serials of {of} with quantity {}", serials.len(), row.quantity));
    }
    if let Some(serial) = serials.iter().find(|serial| !taken.is_serial(**serial)) {
        return Some(format!("serial {serial} of {of}, which has {}", taken.voucher.total));
    }
    let worth = taken.worth_fen(&serials);
    if row.amount_fen != worth {
        return Some(format!(
            "serials {} of {of} for {} fen; they are worth {worth}",
            row.serials, row.amount_fen
        ));
    }
    match row.state {
        LockState::Consumed if row.is_booking => None,
        LockState::Active | LockState::Consumed => {
            serials.into_iter().find_map(|serial| taken.take(serial, row.id.to_string()))
        }
        LockState::Released => None,
    }
}
