//! Amounts: how they are shown, and what a use is worth.

/// `58.00 元`
pub(super) fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}{}.{:02} 元", fen / 100, fen % 100)
}

/// What use `serial` (from 1) of `uses` of a voucher paid with `total_fen` is worth: ⌊T·s/n⌋ − ⌊T·(s−1)/n⌋.
pub(super) fn use_value(total_fen: i64, uses: i64, serial: i64) -> i64 {
    let up_to = |serial: i64| (total_fen * serial).div_euclid(uses);
    up_to(serial) - up_to(serial - 1)
}

/// What a refund of all uses but the kept one is worth.
pub(super) fn value_without(total_fen: i64, uses: i64, kept_serial: i64) -> i64 {
    (1..=uses).filter(|serial| *serial != kept_serial).map(|serial| use_value(total_fen, uses, serial)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_a_card_sum_to_its_price() {
        let values =
            |total, uses| (1..=uses).map(|serial| use_value(total, uses, serial)).collect::<Vec<_>>();
        assert_eq!(values(10_000, 3), [3_333, 3_333, 3_334]);
        assert_eq!(values(5_800, 3), [1_933, 1_933, 1_934]);
        assert_eq!(values(2, 3), [0, 1, 1]);
        assert_eq!(values(100, 1), [100]);
        for (total, uses) in [(1, 7), (99_999, 10), (5_801, 3), (0, 5)] {
            assert_eq!(values(total, uses).iter().sum::<i64>(), total);
        }
    }

    #[test]
    fn a_refund_leaves_the_kept_use() {
        assert_eq!(value_without(10_000, 3, 1), 6_667);
        assert_eq!(value_without(10_000, 3, 3), 6_666);
        assert_eq!(value_without(100, 1, 1), 0);
    }

    #[test]
    fn amounts_in_yuan() {
        for (fen, text) in [(0, "0.00 元"), (5, "0.05 元"), (5_800, "58.00 元"), (-150, "-1.50 元")] {
            assert_eq!(yuan(fen), text);
        }
        assert_eq!(yuan(i64::MIN), "-92233720368547758.08 元");
    }
}
