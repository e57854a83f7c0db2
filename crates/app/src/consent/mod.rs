//! Consent 同意: a verifier asks, the customer taps in their own app, and only then something is shown or done.
//!
//! **Invariant:** what a verifier is answered before the tap does not depend on whether anybody has the number that was
//! asked by. Who a lookup by phone fits is found when a customer's app asks for what waits for it.

pub(crate) mod ask;
mod tap;

pub use ask::{AskLookup, Asked, LookupBy};
pub(crate) use tap::items_of;
pub use tap::{Shown, Tapped};
