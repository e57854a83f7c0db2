//! Price, exactly: one pure calculator answers the preview and the order alike, and leaves its trail.
//!
//! Each step writes its share in fen to each line; a line's shares and what is paid for it sum to its goods amount.
//! Today's steps are the base price (the store's own or the SKU's) and nothing else: member price, promotion,
//! coupon and points are further [`Step`]s in this order.

use serde::{Deserialize, Serialize};

use crate::money::{AmountOverflow, MAX_AMOUNT_FEN, Money};
use crate::state::text_enum;

text_enum! {
    /// The steps of the calculation, in order.
    pub enum Step {
        /// The store's or the SKU's price.
        Base = "base",
        /// Member price.
        Member = "member",
        /// Group-buy or flash sale.
        Promotion = "promotion",
        /// Coupon.
        Coupon = "coupon",
        /// Points.
        Points = "points",
    }
}

/// One line to be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceLine {
    /// The SKU's own price.
    pub sku_price: Money,
    /// The store's price for it, if it has one.
    pub store_price: Option<Money>,
    /// Units.
    pub quantity: u32,
}

/// A priced line. `goods = pay + Σ shares`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// The price of one unit.
    pub unit_price: Money,
    /// `unit_price × quantity`.
    pub goods: Money,
    /// What the discounts take off.
    pub discount: Money,
    /// What is paid.
    pub pay: Money,
}

/// One step of the trail, for people: `商品金额 60.00 元`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStep {
    /// Which step.
    pub step: Step,
    /// What it is called.
    pub text: String,
    /// What it adds (the goods) or takes off (negative).
    pub amount_fen: i64,
}

/// A whole calculation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The lines, in order.
    pub lines: Vec<PricedLine>,
    /// Sum of the goods.
    pub goods: Money,
    /// Sum of the discounts.
    pub discount: Money,
    /// What is paid.
    pub pay: Money,
    /// How it came about.
    pub trail: Vec<TrailStep>,
}

/// Prices the lines. Fails when the sum leaves what one payment may be (1,000,000 yuan).
pub fn quote(lines: &[PriceLine]) -> Result<Quote, AmountOverflow> {
    let mut priced = Vec::with_capacity(lines.len());
    for line in lines {
        let unit_price = line.store_price.unwrap_or(line.sku_price);
        let goods = unit_price.times(line.quantity)?;
        priced.push(PricedLine { unit_price, goods, discount: Money::ZERO, pay: goods });
    }
    let goods = Money::sum(priced.iter().map(|l| l.goods))?;
    let discount = Money::sum(priced.iter().map(|l| l.discount))?;
    let pay = goods.minus(discount)?;
    if goods.as_fen() > MAX_AMOUNT_FEN {
        return Err(AmountOverflow);
    }
    let trail =
        vec![TrailStep { step: Step::Base, text: "商品金额".to_owned(), amount_fen: goods.as_fen() }];
    Ok(Quote { lines: priced, goods, discount, pay, trail })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_sums_exactly(lines in prop::collection::vec((0i64..500_000, prop::option::of(0i64..500_000), 1u32..4), 1..20)) {
            let lines: Vec<_> = lines.into_iter().map(|(sku, store, quantity)| PriceLine {
                sku_price: Money::fen(sku), store_price: store.map(Money::fen), quantity,
            }).collect();
            let quote = quote(&lines).unwrap();
            prop_assert_eq!(Money::sum(quote.lines.iter().map(|l| l.pay)).unwrap(), quote.pay);
            prop_assert_eq!(quote.trail.iter().map(|t| t.amount_fen).sum::<i64>(), quote.pay.as_fen());
            for line in &quote.lines {
                prop_assert_eq!(line.pay.plus(line.discount).unwrap(), line.goods);
            }
        }
    }

    #[test]
    fn a_store_price_wins_and_the_sum_is_bounded() {
        let line = PriceLine { sku_price: Money::fen(100), store_price: Some(Money::fen(90)), quantity: 2 };
        assert_eq!(quote(&[line]).unwrap().pay, Money::fen(180));
        let line = PriceLine { sku_price: Money::fen(MAX_AMOUNT_FEN), store_price: None, quantity: 2 };
        assert!(quote(&[line]).is_err());
    }
}
