//! The Damm check digit: one digit that catches what people mistype at a counter.
//!
//! Promise: it finds every single wrong digit and every swap of two neighbours. The operation table is a weakly
//! totally anti-symmetric quasigroup of order 10 (H. M. Damm, 2004); the tests prove both properties of the
//! table itself, so a typing error in it cannot go unnoticed.

/// `TABLE[interim][digit]` is the next interim digit. The zero diagonal makes the check digit equal to the last
/// interim digit, so a number with its check digit appended ends at 0.
const TABLE: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// The check digit for `digits` (values 0–9, not ASCII). `None` if a value is above 9.
#[must_use]
pub fn check_digit(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |interim, &digit| {
        TABLE.get(usize::from(interim)).and_then(|row| row.get(usize::from(digit))).copied()
    })
}

/// Whether `digits` (values 0–9), whose last one is the check digit, is consistent. Empty input is not.
#[must_use]
pub fn is_valid(digits: &[u8]) -> bool {
    !digits.is_empty() && check_digit(digits) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_value() {
        assert_eq!(check_digit(&[5, 7, 2]), Some(4), "Damm's own example");
        assert!(is_valid(&[5, 7, 2, 4]));
        assert!(!is_valid(&[]));
        assert_eq!(check_digit(&[10]), None);
        assert!(!is_valid(&[5, 7, 2, 14]));
    }

    /// Rows and columns are permutations and the diagonal is 0: a single wrong digit always changes the result.
    #[test]
    fn table_is_a_quasigroup_with_zero_diagonal() {
        for a in 0..10 {
            let mut row = [false; 10];
            let mut column = [false; 10];
            for b in 0..10 {
                row[usize::from(TABLE[a][b])] = true;
                column[usize::from(TABLE[b][a])] = true;
            }
            assert_eq!((row, column), ([true; 10], [true; 10]), "row and column {a}");
            assert_eq!(TABLE[a][a], 0);
        }
    }

    /// `(c*x)*y = (c*y)*x` only for `x = y`, for every interim digit `c`: a swap of neighbours changes the result.
    #[test]
    fn table_is_weakly_totally_anti_symmetric() {
        let op = |a: u8, b: u8| TABLE[usize::from(a)][usize::from(b)];
        for x in 0..10 {
            for y in (0..10).filter(|&y| y != x) {
                for c in 0..10 {
                    assert_ne!(op(op(c, x), y), op(op(c, y), x), "{c} {x} {y}");
                }
            }
        }
    }

    proptest! {
        /// For each drawn number: every position × every other digit, and every pair of neighbours.
        #[test]
        fn every_single_error_and_adjacent_swap_is_found(mut digits in prop::collection::vec(0_u8..10, 11)) {
            let check = check_digit(&digits).unwrap();
            digits.push(check);
            prop_assert!(is_valid(&digits));
            for position in 0..digits.len() {
                for wrong in (0..10).filter(|&wrong| wrong != digits[position]) {
                    let mut typed = digits.clone();
                    typed[position] = wrong;
                    prop_assert!(!is_valid(&typed), "{digits:?} typed as {typed:?}");
                }
            }
            for left in 0..digits.len() - 1 {
                let mut typed = digits.clone();
                typed.swap(left, left + 1);
                prop_assert!(typed == digits || !is_valid(&typed), "{digits:?} typed as {typed:?}");
            }
        }
    }
}
