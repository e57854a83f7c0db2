//! Vouchers and their redemption: customers show, staff redeem, headquarters look.

mod customer;
mod merchant;
mod staff;
mod views;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(staff::routes()).merge(merchant::routes())
}
