//! Closed sets of the catalogue and of the people who work with it.

use crate::state::text_enum;

text_enum! {
    /// Review and life of a merchant, store or product.
    pub enum ReviewState {
        /// Being written.
        Draft = "Draft",
        /// Waiting for the platform.
        Submitted = "Submitted",
        /// In use.
        Approved = "Approved",
        /// Sent back with a reason.
        Rejected = "Rejected",
        /// Warned: a deadline to put it right runs.
        Warned = "Warned",
        /// Put right after a warning.
        Rectified = "Rectified",
        /// Out of use until decided.
        Suspended = "Suspended",
        /// Gone.
        Removed = "Removed",
    }
}

impl ReviewState {
    /// Whether customers see it and staff work with it.
    pub const fn in_use(self) -> bool {
        match self {
            Self::Approved | Self::Warned | Self::Rectified => true,
            Self::Draft | Self::Submitted | Self::Rejected | Self::Suspended | Self::Removed => false,
        }
    }
}

text_enum! {
    /// Whether a product is offered.
    pub enum ProductState {
        /// Never offered yet.
        Draft = "Draft",
        /// Offered 上架.
        Listed = "Listed",
        /// Taken back 下架.
        Delisted = "Delisted",
        /// Gone.
        Removed = "Removed",
    }
}

text_enum! {
    /// Where a SKU's stock is counted.
    pub enum StockMode {
        /// One row for each store.
        Own = "own",
        /// One row shared by all stores of the product.
        Shared = "shared",
        /// Not counted: services.
        Unlimited = "unlimited",
    }
}

text_enum! {
    /// What a member of staff may do. Verifiers and store managers work for named stores.
    pub enum Role {
        /// 老板: everything of the merchant.
        Owner = "owner",
        /// 运营: stores, products, orders, refunds; not money settings and not owners.
        Operator = "operator",
        /// 财务: reads orders, money and reports; decides stuck refunds.
        Finance = "finance",
        /// 店长: runs their stores.
        StoreManager = "store_manager",
        /// 核销员: redeems in their stores.
        Verifier = "verifier",
    }
}

text_enum! {
    /// Single things a role allows. The one place that says who may do what.
    pub enum Capability {
        /// Prepare and confirm redemptions.
        Redeem = "redeem",
        /// Decide on redemptions that others recorded after they happened, in their stores.
        ApproveBackfill = "approve_backfill",
        /// Reverse any redemption of their stores until it matures, not only their own of the last minutes.
        ReverseAny = "reverse_any",
        /// Open or rest their store, and edit it.
        ManageStore = "manage_store",
        /// Create stores.
        CreateStore = "create_store",
        /// Write products and prices.
        ManageProducts = "manage_products",
        /// Adjust stock.
        ManageStock = "manage_stock",
        /// Create and edit staff.
        ManageStaff = "manage_staff",
        /// Read orders, vouchers and redemptions of their stores.
        ReadOrders = "read_orders",
        /// Decide refunds that are stuck.
        ManageRefunds = "manage_refunds",
        /// Read the ledger.
        ReadLedger = "read_ledger",
        /// Write what customers agree to.
        ManageAgreements = "manage_agreements",
        /// Say which systems are told what happens, and read what they were told.
        ManageWebhooks = "manage_webhooks",
        /// Write the rules of the verifiers' commission.
        ManageCommission = "manage_commission",
        /// Print the evidence sheet of a voucher of their stores.
        ReadEvidence = "read_evidence",
        /// Read the risk flags of their stores and say what was found.
        ReviewRisks = "review_risks",
        /// Set how the merchant as a whole works.
        ManageSettings = "manage_settings",
    }
}

impl Role {
    /// Whether the role reaches every store of its merchant.
    pub const fn all_stores(self) -> bool {
        match self {
            Self::Owner | Self::Operator | Self::Finance => true,
            Self::StoreManager | Self::Verifier => false,
        }
    }

    /// Whether the role allows something.
    pub const fn may(self, capability: Capability) -> bool {
        use Capability as C;
        match (self, capability) {
            (Self::Owner, _) => true,
            (
                Self::Operator,
                C::Redeem
                | C::ApproveBackfill
                | C::ReverseAny
                | C::ManageStore
                | C::CreateStore
                | C::ManageProducts
                | C::ManageStock
                | C::ManageStaff
                | C::ReadOrders
                | C::ManageRefunds
                | C::ManageWebhooks
                | C::ReadEvidence
                | C::ReviewRisks,
            )
            | (Self::Finance, C::ReadOrders | C::ManageRefunds | C::ReadLedger | C::ReadEvidence)
            | (
                Self::StoreManager,
                C::Redeem
                | C::ApproveBackfill
                | C::ReverseAny
                | C::ManageStore
                | C::ManageStock
                | C::ManageStaff
                | C::ReadOrders
                | C::ReadEvidence
                | C::ReviewRisks,
            )
            | (Self::Verifier, C::Redeem | C::ReadOrders) => true,
            (
                Self::Operator,
                C::ReadLedger | C::ManageAgreements | C::ManageCommission | C::ManageSettings,
            )
            | (
                Self::Finance,
                C::Redeem
                | C::ApproveBackfill
                | C::ReverseAny
                | C::ManageStore
                | C::CreateStore
                | C::ManageProducts
                | C::ManageStock
                | C::ManageStaff
                | C::ManageAgreements
                | C::ManageWebhooks
                | C::ManageCommission
                | C::ReviewRisks
                | C::ManageSettings,
            )
            | (
                Self::StoreManager,
                C::CreateStore
                | C::ManageProducts
                | C::ManageRefunds
                | C::ReadLedger
                | C::ManageAgreements
                | C::ManageWebhooks
                | C::ManageCommission
                | C::ManageSettings,
            )
            | (
                Self::Verifier,
                C::ApproveBackfill
                | C::ReverseAny
                | C::ManageStore
                | C::CreateStore
                | C::ManageProducts
                | C::ManageStock
                | C::ManageStaff
                | C::ManageRefunds
                | C::ReadLedger
                | C::ManageAgreements
                | C::ManageWebhooks
                | C::ManageCommission
                | C::ReadEvidence
                | C::ReviewRisks
                | C::ManageSettings,
            ) => false,
        }
    }

    /// Whether someone with this role may create or edit an account with the other role.
    pub const fn may_manage(self, other: Role) -> bool {
        match self {
            Self::Owner => true,
            Self::Operator => !matches!(other, Self::Owner | Self::Finance),
            Self::StoreManager => matches!(other, Self::Verifier),
            Self::Finance | Self::Verifier => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_capabilities() {
        let mut table = String::new();
        for role in Role::ALL {
            let may: Vec<_> = Capability::ALL.iter().filter(|c| role.may(**c)).map(|c| c.as_str()).collect();
            table.push_str(&format!("{role}: {}\n", may.join(" ")));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn nobody_but_an_owner_touches_owners() {
        for role in Role::ALL {
            assert_eq!(role.may_manage(Role::Owner), *role == Role::Owner);
        }
    }
}
