//! Sign-in: customers by WeChat, staff by phone and password; access and refresh tokens; who is behind a request.

mod customer;
mod password;
mod phone;
mod session;
mod staff;
mod token;

use std::sync::Arc;

use hexiao_core::catalog::{Capability, Role};
use hexiao_core::id::{CustomerId, DeviceId, MerchantId, SessionId, StaffId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope};

pub use password::{hash_password, password_problem};
pub use session::{SessionCache, Tokens};
pub use staff::{ChooseMerchant, StaffSignIn};

/// A signed-in customer.
#[derive(Debug, Clone)]
pub struct CustomerPrincipal {
    /// The session.
    pub session_id: SessionId,
    /// Who.
    pub customer_id: CustomerId,
}

impl CustomerPrincipal {
    /// Their own rows.
    pub fn scope(&self) -> CustomerScope {
        CustomerScope::of_session(self.customer_id)
    }
}

/// A signed-in member of staff, as the database described them within the last second.
#[derive(Debug, Clone)]
pub struct StaffPrincipal {
    /// The session.
    pub session_id: SessionId,
    /// For whom.
    pub merchant_id: MerchantId,
    /// Who.
    pub staff_id: StaffId,
    /// Their name, for records.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// Where.
    pub scope: StoreScope,
    /// Whether headquarters set a daily limit: what it is, is read when it is judged.
    pub limited: bool,
    /// The registered device that the session is used on.
    pub device: Option<DeviceId>,
    /// Whether redeeming needs one.
    pub device_required: bool,
}

impl StaffPrincipal {
    /// Refuses unless the role allows it.
    pub fn require(&self, capability: Capability) -> Result<(), Refusal> {
        if self.role.may(capability) { Ok(()) } else { Err(Reason::Forbidden.into()) }
    }

    /// Refuses when the merchant lets only registered devices redeem, and the session is on none.
    pub fn require_device(&self) -> Result<(), Refusal> {
        if self.device_required && self.device.is_none() {
            Err(Reason::DeviceRequired.into())
        } else {
            Ok(())
        }
    }

    /// The whole merchant, for those who may see all of it.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_session(self.merchant_id)
    }

    /// Refuses, as if it did not exist, a store outside the scope.
    pub fn require_store(&self, store_id: StoreId) -> Result<(), Refusal> {
        if self.scope.contains(store_id) {
            Ok(())
        } else {
            Err(Refusal::with_message(Reason::NotFound, "没有找到这个门店"))
        }
    }
}

/// Who is behind a verified access token.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A customer.
    Customer(CustomerPrincipal),
    /// A member of staff.
    Staff(StaffPrincipal),
}
