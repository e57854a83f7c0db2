//! Splitting money so that nothing is lost and nothing is made: discounts over lines, a line over its uses.
//!
//! Promise: the parts are never negative and always sum to the whole. Plain integers in fen, with 128-bit
//! intermediates, so no input overflows.

/// Splits `amount_fen` in proportion to `weights` by largest remainder: each part is its exact share rounded down,
/// and the fen left over go one each to the largest remainders, the first of equals first.
///
/// No part is above its share rounded up: a discount not above the sum of the lines never exceeds a line.
/// If all weights are 0 the split is even. `None` if the amount or a weight is negative, or if there is an amount but
/// nothing to give it to.
#[must_use]
pub fn split_by_largest_remainder(amount_fen: i64, weights: &[i64]) -> Option<Vec<i64>> {
    if amount_fen < 0 || weights.iter().any(|&weight| weight < 0) {
        return None;
    }
    if weights.is_empty() {
        return (amount_fen == 0).then(Vec::new);
    }
    if weights.iter().all(|&weight| weight == 0) {
        return split_by_largest_remainder(amount_fen, &vec![1; weights.len()]);
    }
    let total: i128 = weights.iter().copied().map(i128::from).sum();
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = amount_fen;
    for (index, &weight) in weights.iter().enumerate() {
        let product = i128::from(amount_fen) * i128::from(weight);
        let part = i64::try_from(product / total).ok()?;
        parts.push(part);
        remainders.push((product % total, index));
        left -= part;
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    // Fewer fen are left than there are remainders above 0: they sum to `left` × `total`, each below `total`.
    for (_, index) in remainders.into_iter().take(usize::try_from(left).ok()?) {
        parts[index] += 1;
    }
    Some(parts)
}

/// What use `serial` (1 to `uses`) of a line paid with `total_fen` is worth: ⌊T·s/n⌋ − ⌊T·(s−1)/n⌋.
///
/// The only rule for partial redemption and partial refund; the values of all serials sum to the total.
/// A serial that is not one of the uses is worth nothing.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "a part of an i64 is not above it")]
pub fn use_value_fen(total_fen: i64, uses: u32, serial: u32) -> i64 {
    if serial == 0 || serial > uses {
        return 0;
    }
    let up_to = |serial: u32| (i128::from(total_fen) * i128::from(serial)).div_euclid(i128::from(uses));
    i64::try_from(up_to(serial) - up_to(serial - 1)).expect("a part of an i64 is not above it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (amount, weights, parts) in [
            (100, &[1, 1, 1][..], &[34, 33, 33][..]),
            (101, &[1, 1, 1], &[34, 34, 33]),
            (100, &[2, 1, 0], &[67, 33, 0]),
            (10, &[1, 3, 3, 3], &[1, 3, 3, 3]),
            (1, &[1, 2, 2], &[0, 1, 0]),
            (5, &[0, 0, 0], &[2, 2, 1]),
            (0, &[3, 4], &[0, 0]),
            (0, &[], &[]),
            (i64::MAX, &[i64::MAX, i64::MAX], &[i64::MAX / 2 + 1, i64::MAX / 2]),
        ] {
            assert_eq!(
                split_by_largest_remainder(amount, weights).as_deref(),
                Some(parts),
                "{amount} {weights:?}"
            );
        }
        assert_eq!(split_by_largest_remainder(1, &[]), None);
        assert_eq!(split_by_largest_remainder(-1, &[1]), None);
        assert_eq!(split_by_largest_remainder(1, &[1, -1]), None);
    }

    #[test]
    fn uses_of_ten_yuan() {
        let values: Vec<_> = (1..=3).map(|serial| use_value_fen(1000, 3, serial)).collect();
        assert_eq!(values, [333, 333, 334]);
        assert_eq!(use_value_fen(1000, 3, 0), 0);
        assert_eq!(use_value_fen(1000, 3, 4), 0);
        assert_eq!(use_value_fen(1000, 0, 1), 0);
        assert_eq!(use_value_fen(i64::MAX, 1, 1), i64::MAX);
        assert_eq!(use_value_fen(i64::MIN, 1, 1), i64::MIN);
    }

    fn fen() -> impl Strategy<Value = i64> {
        prop_oneof![0..1000_i64, 0..1_000_000_000_i64, 0..=i64::MAX]
    }

    proptest! {
        #[test]
        fn parts_sum_exactly_and_stay_near_their_share(
            amount in fen(), weights in prop::collection::vec(prop_oneof![Just(0), fen()], 1..40),
        ) {
            let parts = split_by_largest_remainder(amount, &weights).unwrap();
            prop_assert_eq!(parts.iter().copied().map(i128::from).sum::<i128>(), i128::from(amount));
            let total: i128 = weights.iter().copied().map(i128::from).sum();
            for (&part, &weight) in parts.iter().zip(&weights) {
                prop_assert!(part >= 0);
                if total > 0 {
                    let product = i128::from(amount) * i128::from(weight);
                    let down = product / total;
                    let up = down + i128::from(product % total > 0);
                    prop_assert!((down..=up).contains(&i128::from(part)));
                    prop_assert!(i128::from(amount) > total || part <= weight, "no line below zero");
                }
            }
        }

        /// Of equal lines, an earlier one never gets less.
        #[test]
        fn ties_go_to_the_first(amount in fen(), weight in fen(), count in 1_usize..40) {
            let parts = split_by_largest_remainder(amount, &vec![weight; count]).unwrap();
            prop_assert!(parts.windows(2).all(|pair| pair[0] >= pair[1] && pair[0] - pair[1] <= 1));
        }

        #[test]
        fn uses_sum_exactly_and_differ_by_one_fen(total in fen(), uses in 1_u32..200) {
            let values: Vec<i64> = (1..=uses).map(|serial| use_value_fen(total, uses, serial)).collect();
            prop_assert_eq!(values.iter().sum::<i64>(), total);
            let (min, max) = (values.iter().min().unwrap(), values.iter().max().unwrap());
            prop_assert!(*min >= 0 && max - min <= 1);
        }

        /// Also for counts that can't be added up one by one.
        #[test]
        fn any_use_has_a_value(total in fen(), uses in 1_u32.., serial: u32) {
            let serial = serial % uses + 1;
            let value = use_value_fen(total, uses, serial);
            prop_assert!((0..=total).contains(&value));
        }
    }
}
