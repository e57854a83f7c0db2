//! Conditions that a caller may or may not give, with their parameters.

use hexiao_core::catalog::ReviewState;
use hexiao_core::id::ProductId;
use sea_orm::{DbBackend, Value};

use crate::pool::Conn;
use crate::row::Param as _;

/// `AND …` conditions on `stores s`, after a text whose first parameters are bound already.
pub(super) struct Filter {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Filter {
    /// After these parameters.
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self { text: String::new(), values }
    }

    /// Adds a parameter; its number.
    pub(super) fn bind(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }

    /// Adds a condition.
    pub(super) fn and(&mut self, condition: &str) {
        self.text.push_str("\n AND ");
        self.text.push_str(condition);
    }

    /// Any of the columns contains the words as they are: `%` and `_` mean themselves. Case counts for letters other
    /// than A–Z only.
    pub(super) fn contains_text(&mut self, c: &impl Conn, columns: &[&str], words: &str) {
        let n = self.bind(contains_pattern(words).value());
        let any: Vec<String> = columns
            .iter()
            .map(|column| format!("{} LIKE ${n} ESCAPE '\\'", lower_ascii(c, column)))
            .collect();
        self.and(&format!("({})", any.join(" OR ")));
    }

    /// In the city, with or without its 市.
    pub(super) fn city(&mut self, city: &str) {
        let bare = city.strip_suffix('市').filter(|rest| !rest.is_empty()).unwrap_or(city);
        let (a, b) = (self.bind(bare.value()), self.bind(format!("{bare}市").value()));
        self.and(&format!("s.city IN (${a}, ${b})"));
    }

    /// In use, at a merchant that is.
    pub(super) fn shown_to_customers(&mut self) {
        let states = in_use_states();
        self.and(&format!(
            "s.state IN ({states}) AND EXISTS
             (SELECT 1 FROM merchants m WHERE m.id = s.merchant_id AND m.state IN ({states}))"
        ));
    }

    /// Sells the product: it is listed, the store is one of its stores and lists at least one SKU of it.
    pub(super) fn sells(&mut self, product: ProductId) {
        let n = self.bind(product.value());
        self.and(&format!(
            "EXISTS (SELECT 1 FROM products p WHERE p.id = ${n} AND p.merchant_id = s.merchant_id AND p.state = 'Listed'
              AND (p.all_stores <> EXISTS (SELECT 1 FROM product_stores ps
                   WHERE ps.merchant_id = p.merchant_id AND ps.product_id = p.id AND ps.store_id = s.id))
              AND EXISTS (SELECT 1 FROM skus k WHERE k.merchant_id = p.merchant_id AND k.product_id = p.id AND k.active
                   AND NOT EXISTS (SELECT 1 FROM store_listings l
                       WHERE l.merchant_id = k.merchant_id AND l.store_id = s.id AND l.sku_id = k.id AND NOT l.listed)))"
        ));
    }
}

/// The states in which customers see a row, quoted.
pub(super) fn in_use_states() -> String {
    let states: Vec<String> =
        ReviewState::ALL.iter().filter(|s| s.in_use()).map(|s| format!("'{s}'")).collect();
    states.join(", ")
}

/// SQLite's lower() knows A–Z only; PostgreSQL's does the same in the collation "C".
fn lower_ascii(c: &impl Conn, column: &str) -> String {
    match c.backend() {
        DbBackend::Sqlite => format!("lower({column})"),
        _ => format!("lower({column} COLLATE \"C\")"),
    }
}

fn contains_pattern(words: &str) -> String {
    let mut pattern = String::from("%");
    for c in words.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_themselves_and_case_is_folded() {
        assert_eq!(contains_pattern(r"50%_Off\É"), r"%50\%\_off\\É%");
        assert_eq!(contains_pattern("火锅 KTV"), "%火锅 ktv%");
    }

    #[test]
    fn only_states_in_use_are_shown() {
        assert_eq!(in_use_states(), "'Approved', 'Warned', 'Rectified'");
    }

    #[test]
    fn a_city_is_found_with_and_without_its_suffix() {
        for (city, bare) in [("深圳市", "深圳"), ("深圳", "深圳"), ("市", "市")] {
            let mut filter = Filter::new(vec![]);
            filter.city(city);
            assert_eq!(filter.values, [bare.value(), format!("{bare}市").value()], "{city}");
        }
    }
}
