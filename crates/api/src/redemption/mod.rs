//! Vouchers and their redemption: customers show, staff redeem, headquarters look.

mod attempts;
mod backfill;
mod customer;
mod evidence;
mod evidence_page;
mod merchant;
mod offline;
mod risk;
mod staff;
mod views;

pub(crate) use views::ConfirmedView;

use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(customer::routes())
        .merge(staff::routes())
        .merge(backfill::routes())
        .merge(offline::routes())
        .merge(risk::routes())
        .merge(merchant::routes())
        .merge(attempts::routes())
        .merge(evidence::routes())
}
