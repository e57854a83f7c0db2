//! Bookings: customers choose a time, stores see who comes, managers say what can be booked.

mod customer;
mod merchant;
mod staff;
mod views;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(staff::routes()).merge(merchant::routes())
}
