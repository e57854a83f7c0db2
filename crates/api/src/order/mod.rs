//! Orders, payments, refunds: customers buy, staff and headquarters look and decide.

mod customer;
mod merchant;
mod refund_views;
mod staff;
mod views;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(merchant::routes()).merge(staff::routes())
}
