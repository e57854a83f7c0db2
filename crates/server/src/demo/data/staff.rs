//! The people: one of each headquarters role, three store managers, a verifier for each city.

use hexiao_core::catalog::Role;

use super::cities::CITIES;
use super::{DemoStaff, DemoStore};

/// Signs in as the owner.
pub const OWNER_PHONE: &str = "13800000001";
/// Signs in as the operator.
pub const OPERATOR_PHONE: &str = "13800000002";
/// Signs in as finance.
pub const FINANCE_PHONE: &str = "13800000003";
/// Signs in as the manager of the first stores in Shanghai. The other managers' numbers follow.
pub const SHANGHAI_MANAGER_PHONE: &str = "13800000011";
/// Signs in as the verifier of every store in Shanghai. The other cities' verifiers' numbers follow, in the order of
/// the stores' cities.
pub const SHANGHAI_VERIFIER_PHONE: &str = "13800000021";

/// A manager runs so many stores of their city.
const STORES_OF_MANAGER: usize = 5;

const MANAGERS: [&str; 3] = ["林晓梅", "赵志远", "黄嘉欣"];
const VERIFIERS: [&str; 10] =
    ["陈思雨", "王浩然", "梁俊杰", "李佳宁", "周子涵", "何雨桐", "徐文博", "孙若曦", "马晨曦", "唐小川"];

pub(super) fn staff(stores: &[DemoStore]) -> Vec<DemoStaff> {
    let one = |name, phone: &str, role, stores| DemoStaff { name, phone: phone.to_owned(), role, stores };
    let mut staff = vec![
        one("沈清禾", OWNER_PHONE, Role::Owner, vec![]),
        one("许知远", OPERATOR_PHONE, Role::Operator, vec![]),
        one("郑安宁", FINANCE_PHONE, Role::Finance, vec![]),
    ];
    for ((name, city), number) in MANAGERS.into_iter().zip(&CITIES).zip(11..) {
        let mut theirs = stores_of(stores, city.name);
        theirs.truncate(STORES_OF_MANAGER);
        staff.push(one(name, &phone(number), Role::StoreManager, theirs));
    }
    for ((name, city), number) in VERIFIERS.into_iter().zip(&CITIES).zip(21..) {
        staff.push(one(name, &phone(number), Role::Verifier, stores_of(stores, city.name)));
    }
    staff
}

fn phone(number: u32) -> String {
    format!("13800000{number:03}")
}

fn stores_of(stores: &[DemoStore], city: &str) -> Vec<usize> {
    (0..).zip(stores).filter(|(_, store)| store.city == city).map(|(index, _)| index).collect()
}
