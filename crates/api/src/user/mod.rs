//! People: the merchant's staff with their accounts, customers with their phone numbers; and the merchant itself.

mod customer;
mod merchant;
mod settings;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(merchant::routes()).merge(settings::routes())
}
