//! The verifiers' commission: that it is what the rule of its time gives for the use, for every use and no other.

use std::borrow::Cow;

use super::{Check, Proof};

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "commission_amount",
            "A commission is the rule's share of the use's worth, half a fen upwards, and the rule's amount for each use.",
            AMOUNT,
        ),
        Check::sql(
            "commission_use",
            "A commission is for the worth, verifier, store and day of its use.",
            USE,
        ),
        Check::sql(
            "commission_rule",
            "A commission has the terms of a rule that was in force for its product when the use was redeemed.",
            RULE,
        ),
        Check::sql("commission_rules_overlap", "Of a product, one rule is in force at a time.", OVERLAP),
        Check {
            name: "commission_reversed",
            what: "A commission is reversed when its use was undone and the news were read, and not otherwise.",
            proof: Proof::Sql(Cow::Owned(reversed())),
        },
        Check {
            name: "commission_complete",
            what: "A use that was redeemed while a rule was in force has its commission, once the news were read.",
            proof: Proof::Sql(Cow::Owned(complete())),
        },
    ]
}

const AMOUNT: &str = "
    SELECT 'commission_entries' AS tbl, merchant_id, use_id AS id,
      amount_fen || ' fen for ' || worth_fen || ' at ' || basis_points || ' and ' || per_use_fen AS detail
    FROM commission_entries WHERE amount_fen <> (worth_fen * basis_points * 2 + 10000) / 20000 + per_use_fen";

const USE: &str = "
    SELECT 'commission_entries' AS tbl, e.merchant_id, e.use_id AS id, 'says other things than its use' AS detail
    FROM commission_entries e JOIN uses u ON u.merchant_id = e.merchant_id AND u.id = e.use_id
    WHERE e.worth_fen <> u.amount_fen OR e.staff_id <> u.staff_id OR e.store_id <> u.store_id OR e.redemption_id <> u.redemption_id
      OR e.business_date <> u.business_date OR e.matures_at <> u.matures_at";

const RULE: &str = "
    SELECT 'commission_entries' AS tbl, e.merchant_id, e.use_id AS id, 'by another rule than the one of its time' AS detail
    FROM commission_entries e
    JOIN uses u ON u.merchant_id = e.merchant_id AND u.id = e.use_id
    JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
    JOIN commission_rules r ON r.merchant_id = e.merchant_id AND r.id = e.rule_id
    WHERE e.basis_points <> r.basis_points OR e.per_use_fen <> r.per_use_fen OR e.product_id <> v.product_id
      OR (r.product_id IS NOT NULL AND r.product_id <> v.product_id)
      OR u.redeemed_at < r.started_at OR (r.ended_at IS NOT NULL AND u.redeemed_at >= r.ended_at)";

const OVERLAP: &str = "
    SELECT 'commission_rules' AS tbl, a.merchant_id, a.id, 'overlaps with another one' AS detail
    FROM commission_rules a JOIN commission_rules b ON b.merchant_id = a.merchant_id AND b.id <> a.id
    WHERE COALESCE(a.product_id, a.merchant_id) = COALESCE(b.product_id, b.merchant_id)
      AND a.started_at >= b.started_at AND (b.ended_at IS NULL OR a.started_at < b.ended_at)
      AND (a.ended_at IS NULL OR a.ended_at > a.started_at)";

/// Redemptions with an outbox row of a topic that commission has not read.
fn unread(topic: &str) -> String {
    format!(
        "(SELECT DISTINCT o.merchant_id, o.subject_id FROM outbox o
          LEFT JOIN consumer_positions p ON p.consumer = 'commission'
          WHERE o.topic = '{topic}' AND (p.consumer IS NULL OR o.tx > p.tx OR (o.tx = p.tx AND o.seq > p.seq)))"
    )
}

fn reversed() -> String {
    format!(
        "SELECT 'commission_entries' AS tbl, e.merchant_id, e.use_id AS id, e.state || ', and its use is ' || u.state AS detail
         FROM commission_entries e JOIN uses u ON u.merchant_id = e.merchant_id AND u.id = e.use_id
         LEFT JOIN {} n ON n.merchant_id = e.merchant_id AND n.subject_id = e.redemption_id
         WHERE (e.state = 'Reversed' AND (u.state <> 'Reversed' OR e.reversed_at <> u.reversed_at))
            OR (e.state <> 'Reversed' AND u.state = 'Reversed' AND n.subject_id IS NULL)",
        unread("redemption.reversed")
    )
}

fn complete() -> String {
    format!(
        "SELECT DISTINCT 'uses' AS tbl, u.merchant_id, u.id, 'has earned nothing by a rule of its time' AS detail
         FROM uses u
         JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
         JOIN commission_rules r ON r.merchant_id = u.merchant_id
         LEFT JOIN commission_entries e ON e.merchant_id = u.merchant_id AND e.use_id = u.id
         LEFT JOIN {} n ON n.merchant_id = u.merchant_id AND n.subject_id = u.redemption_id
         WHERE e.use_id IS NULL AND n.subject_id IS NULL AND (r.product_id IS NULL OR r.product_id = v.product_id)
           AND u.redeemed_at >= r.started_at AND (r.ended_at IS NULL OR u.redeemed_at < r.ended_at)",
        unread("redemption.created")
    )
}
