//! Orders: quoting, placing, closing.

mod close;
mod place;
mod quote;

pub use close::CloseRequest;
pub use place::{PlaceOrder, Placed};
pub use quote::{OrderLineRequest, QuoteRequest, Quoted, QuotedLine};
