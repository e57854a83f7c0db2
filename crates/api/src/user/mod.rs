//! People with accounts: the merchant's staff.

mod merchant;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(merchant::routes())
}
