//! The API's document (OpenAPI 3.1), written from the handlers.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::path::{ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Server};

use super::app::{self, Shared};
use super::{connector, ice, jsapi, lifecycle, logs, metrics, operations, reply, rest, tokens};
use crate::wire::connector::FaultReply;

const TOKEN: &str = "/connector/{token}";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wrtc-gateway",
        description = "The HTTP surfaces of the gateway. `jsapi` is what a client of the Genesys WebRTC Service JSAPI speaks, \
            `raw-sdp` is for pages that use `fetch`, `connector` stands in for the softphone that WWE drives. Each has a page of \
            prose beside this document.",
    ),
    paths(
        jsapi::sign_in, jsapi::sign_in_with_password, jsapi::wait, jsapi::message, jsapi::sign_out,
        jsapi::sign_out_by_beacon,
        rest::sign_in_by_url, rest::sign_in, rest::poll, rest::message, rest::sign_out,
        rest::sign_out_by_beacon,
        connector::token, connector::actions::get_dn_sip, connector::actions::set_options,
        connector::actions::set_sip_endpoint_parameters, connector::actions::register_dn,
        connector::actions::get_is_endpoint_active, connector::actions::get_sip_endpoint_parameters,
        connector::actions::set_ping_period, connector::actions::ping, connector::actions::unregister_dn, connector::actions::make_call,
        connector::actions::answer_call, connector::actions::hang_up, connector::actions::hold, connector::actions::retrieve,
        connector::actions::send_dtmf, connector::actions::get_incoming_call, connector::actions::get_call_status,
        app::health, lifecycle::drain, lifecycle::reload, ice::servers, tokens::create, document,
        operations::probes::livez, operations::probes::readyz, operations::agents::registrations, operations::agents::agents,
        operations::agents::sign_out, operations::call::call, operations::call::set_trace, operations::call::trace, operations::call::traces, operations::history::find, operations::history::capture,
        operations::calls::active, operations::calls::hang_up, operations::stats::stats,
        operations::stats::servers, operations::stats::alerts, operations::stats::series, operations::stats::history,
        operations::events::events,
        metrics::metrics, logs::status, logs::set,
    ),
    components(schemas(FaultReply<'static>, operations::history::CallsFormat)),
    tags(
        (name = "jsapi", description = "Plain text over four paths; see jsapi.md."),
        (name = "raw-sdp", description = "SDP and one-line commands; see rest.md."),
        (name = "connector", description = "WWE's SIP endpoint connector; see connector.md. Without `/connector/{token}` it serves the only agent of a machine."),
        (name = "operation", description = "For those who run the gateway."),
    ),
)]
struct Annotated;

static WHOLE: LazyLock<Document> = LazyLock::new(|| {
    let mut document = Annotated::openapi();
    // The connector's requests once more, as they are without a token.
    let bare = |(path, item): (&String, &PathItem)| {
        let path = path.strip_prefix(TOKEN)?.to_owned();
        let mut item = item.clone();
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_bare"));
            if let Some(parameters) = &mut operation.parameters {
                parameters.retain(|parameter| {
                    !matches!(parameter, RefOr::T(given) if given.parameter_in == ParameterIn::Path)
                });
            }
        }
        Some((path, item))
    };
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("operator", bearer);
    let bare: Vec<_> = document.paths.paths.iter().filter_map(bare).collect();
    document.paths.paths.extend(bare);
    document
});

/// The document as the tree has it, `api-spec/openapi.json`.
pub fn text() -> String {
    let mut text = WHOLE.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", operation_id = "openapi", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(super) async fn document(State(app): Shared) -> Response {
    let text = if app.base_path.is_empty() {
        text()
    } else {
        let mut document = WHOLE.clone();
        document.servers = Some(vec![Server::new(&app.base_path)]);
        document.to_json().unwrap_or_default()
    };
    reply::with_type(StatusCode::OK, "application/json", text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::connector::{Action, Verb};

    /// A route that the document does not tell of, or the other way round, is found here.
    #[test]
    fn every_route_is_told() {
        let mut routes: BTreeSet<String> =
            app::table().operations().map(|(method, path)| format!("{method} {path}")).collect();
        for action in Action::ALL {
            let method = match action.verb() {
                Verb::Get => "GET",
                Verb::Post => "POST",
            };
            routes.insert(format!("{method} {TOKEN}/{}", action.name()));
            routes.insert(format!("{method} /{}", action.name()));
        }
        let mut told = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (path, item) in &WHOLE.paths.paths {
            for (method, operation) in
                [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put)]
            {
                let Some(operation) = operation else { continue };
                told.insert(format!("{method} {path}"));
                let id = operation.operation_id.clone().unwrap();
                assert!(ids.insert(id.clone()), "{id} is there twice");
                assert!(operation.summary.is_some(), "{method} {path} says nothing of itself");
            }
        }
        assert_eq!(routes, told);
    }

    #[test]
    fn what_it_refers_to_is_there() {
        let text = text();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut found = 0;
        for (at, _) in text.match_indices("\"$ref\": \"#") {
            let pointer = text[at + "\"$ref\": \"#".len()..].split('"').next().unwrap();
            assert!(whole.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > 50, "{found}");
    }

    #[test]
    fn the_tree_has_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/api-spec/openapi.json");
        if std::env::var_os("WRTC_WRITE_OPENAPI").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == text(),
            "api-spec/openapi.json is stale: WRTC_WRITE_OPENAPI=1 cargo nextest run --lib openapi"
        );
    }
}
