//! Stock 库存: what an order reserves, and why a line is short. Counted in units; never below zero.

use crate::reason::{Reason, Refusal};
use crate::state::text_enum;

text_enum! {
    /// What became of a reservation.
    pub enum ReservationState {
        /// Holds its units for an unpaid order.
        Open = "Open",
        /// Paid: the units left the stock.
        Committed = "Committed",
        /// The order closed: the units are free again.
        Released = "Released",
    }
}

text_enum! {
    /// Why stock on hand changed.
    pub enum StockEntryKind {
        /// The first count.
        Initial = "initial",
        /// Counted or delivered.
        Adjust = "adjust",
        /// Sold.
        Commit = "commit",
        /// A whole unused voucher came back.
        Return = "return",
    }
}

/// Units on hand and reserved, as read under the lock. `0 ≤ reserved ≤ on_hand`, in the database too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockFacts {
    /// Units in the stock, reserved ones included.
    pub on_hand: i64,
    /// Units held for unpaid orders.
    pub reserved: i64,
}

impl StockFacts {
    /// Units that can be sold.
    pub fn available(self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// A line that wants units of a stock row; several lines may want the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its place in the order.
    pub line: usize,
    /// What it is called, for the refusal.
    pub name: String,
    /// Which stock row; `None` = not counted.
    pub stock: Option<usize>,
    /// Units.
    pub quantity: i64,
}

/// All lines or none: the refusal names every short line.
pub fn check_available(wanted: &[Wanted], stocks: &[StockFacts]) -> Result<(), Refusal> {
    let mut left: Vec<i64> = stocks.iter().map(|s| s.available()).collect();
    let mut refusal: Option<Refusal> = None;
    for want in wanted {
        let Some(index) = want.stock else { continue };
        if left[index] >= want.quantity {
            left[index] -= want.quantity;
        } else {
            let message = format!("「{}」仅剩 {} 份", want.name, left[index].max(0));
            let path = format!("lines[{}].quantity", want.line);
            refusal =
                Some(refusal.unwrap_or_else(|| Refusal::new(Reason::OutOfStock)).and_field(path, message));
        }
    }
    refusal.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_short_line_is_named_and_lines_share_a_row() {
        let want = |line, stock, quantity| Wanted { line, name: format!("商品{line}"), stock, quantity };
        let stocks = [StockFacts { on_hand: 5, reserved: 2 }, StockFacts { on_hand: 1, reserved: 1 }];
        assert!(check_available(&[want(0, Some(0), 3), want(1, None, 99)], &stocks).is_ok());
        let refusal =
            check_available(&[want(0, Some(0), 2), want(1, Some(0), 2), want(2, Some(1), 1)], &stocks)
                .unwrap_err();
        let paths: Vec<_> = refusal.fields.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["lines[1].quantity", "lines[2].quantity"]);
        assert_eq!(refusal.fields[0].message, "「商品1」仅剩 1 份");
    }
}
