//! Whose rows a query may touch. Every query of tenant data takes one of these; a row outside it does not exist.
//!
//! **Invariant:** a scope is made from a verified session or by the system's own jobs, never from request data.
//! The constructors are named for that, and `xtask lint` allows them only in the places that may use them.

use std::sync::Arc;

use crate::id::{CustomerId, MerchantId, StoreId};

/// All rows of one merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MerchantScope {
    merchant_id: MerchantId,
}

impl MerchantScope {
    /// For a verified session of a merchant's staff.
    pub fn of_session(merchant_id: MerchantId) -> Self {
        Self { merchant_id }
    }

    /// For jobs and use cases that found the merchant in the database by themselves.
    pub fn of_system(merchant_id: MerchantId) -> Self {
        Self { merchant_id }
    }

    /// For what belongs to a row that was read under another scope: the lines of a customer's own order.
    pub fn of_row(merchant_id: MerchantId) -> Self {
        Self { merchant_id }
    }

    /// The merchant.
    pub fn merchant_id(self) -> MerchantId {
        self.merchant_id
    }
}

/// Which stores of the merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stores {
    /// All of them: headquarters.
    All,
    /// The ones that a member of staff works for.
    Only(Arc<[StoreId]>),
}

/// Rows of some stores of one merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreScope {
    merchant_id: MerchantId,
    stores: Stores,
}

impl StoreScope {
    /// For a verified session of a member of staff.
    pub fn of_session(merchant_id: MerchantId, stores: Stores) -> Self {
        Self { merchant_id, stores }
    }

    /// The merchant.
    pub fn merchant_id(&self) -> MerchantId {
        self.merchant_id
    }

    /// The whole merchant, if this scope covers all its stores.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope { merchant_id: self.merchant_id }
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Whether a store lies in the scope.
    pub fn contains(&self, store_id: StoreId) -> bool {
        match &self.stores {
            Stores::All => true,
            Stores::Only(ids) => ids.contains(&store_id),
        }
    }
}

/// A customer's own rows, at whatever merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerScope {
    customer_id: CustomerId,
}

impl CustomerScope {
    /// For a verified session of a customer.
    pub fn of_session(customer_id: CustomerId) -> Self {
        Self { customer_id }
    }

    /// The customer.
    pub fn customer_id(self) -> CustomerId {
        self.customer_id
    }
}
