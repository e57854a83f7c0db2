//! Products and stock: what customers see, what merchants edit, what a store's staff looks up.

mod customer;
mod input;
mod listings;
mod merchant;
mod staff;
mod stock;
mod view;

use hexiao_app::auth::StaffPrincipal;
use hexiao_core::catalog::Capability;
use hexiao_core::reason::Refusal;
use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(customer::routes())
        .merge(merchant::routes())
        .merge(listings::routes())
        .merge(stock::routes())
        .merge(staff::routes())
}

/// Who edits products or keeps stock may read both.
fn may_read(staff: &StaffPrincipal) -> Result<(), Refusal> {
    staff.require(Capability::ManageProducts).or_else(|_| staff.require(Capability::ManageStock))
}
