//! What the OpenAPI document says of the whole API, beside what stands at each handler: who signs in how, and how any
//! operation refuses.

use hexiao_core::reason::Reason;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

use crate::error::ErrorBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hexiao API",
        description = "Buy online, redeem in store, across many stores. Money is integer fen; times are RFC 3339 with their zone; ids are TypeIDs; unknown fields are refused. Errors carry a code of the closed set in docs/ERRORS.md."
    ),
    components(schemas(ErrorBody)),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The document without operations.
pub(crate) fn head() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    for (name, _, description) in REFUSALS {
        components.responses.insert(name.to_owned(), RefOr::T(refusal(description)));
    }
    let codes = Reason::ALL.iter().map(|reason| reason.code().into()).collect();
    if let Some(RefOr::T(Schema::Object(detail))) = components.schemas.get_mut("ErrorDetail")
        && let Some(RefOr::T(Schema::Object(code))) = detail.properties.get_mut("code")
    {
        code.enum_values = Some(codes);
    }
    document
}

/// Adds to each operation how it refuses: one body for all, at the statuses that its shape makes possible.
pub(crate) fn with_refusals(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for (path, item) in &mut document.paths.paths {
        // Machines read these; they refuse with a status and a word.
        if !path.starts_with("/api/") {
            continue;
        }
        let reads = [&mut item.get];
        let writes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in reads.into_iter().filter_map(Option::as_mut) {
            add_refusals(operation, path, false);
        }
        for operation in writes.into_iter().filter_map(Option::as_mut) {
            add_refusals(operation, path, true);
        }
    }
    document
}

/// Name, status and meaning of the refusals.
const REFUSALS: [(&str, &str, &str); 10] = [
    ("Invalid", "400", "Malformed, or a field is wrong: `fields` names it"),
    ("NotSignedIn", "401", "Not signed in, or no longer"),
    ("Forbidden", "403", "Not for this role or store"),
    ("NotFound", "404", "No such row, or not the caller's"),
    ("Conflict", "409", "The state of things does not allow it: the code says why"),
    ("TooLarge", "413", "The body is too large"),
    ("NotJson", "415", "The body is not JSON"),
    ("KeyReused", "422", "The Idempotency-Key was used for another request"),
    ("TooMany", "429", "Too many requests: see Retry-After"),
    ("Refused", "default", "Any other refusal, with the same body"),
];

fn add_refusals(operation: &mut Operation, path: &str, writes: bool) {
    let takes_body = operation.request_body.is_some();
    let takes_input = takes_body || operation.parameters.as_ref().is_some_and(|p| !p.is_empty());
    let signed_in = operation.security.is_some();
    for (name, status, _) in REFUSALS {
        let possible = match status {
            "400" => takes_input,
            // What writes for strangers asks for a password or a signature.
            "401" => signed_in || writes,
            "403" => signed_in,
            "404" => path.contains('{') || takes_input,
            "409" | "422" => writes,
            "413" | "415" => takes_body,
            _ => true,
        };
        if possible {
            let reference = Ref::new(format!("#/components/responses/{name}"));
            operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::Ref(reference));
        }
    }
}

fn refusal(description: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new().description(description).content("application/json", body).build()
}
