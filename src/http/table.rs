//! Which request goes where: one table, that the router is made of and the API's document is checked
//! against.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
#[cfg(test)]
use axum::http::Method;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};

use super::app::App;
use super::reply::{self, Problem};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    /// With HEAD, which elsewhere would eat a message of a poll.
    GetAndHead,
    Post,
    Put,
}

struct Path {
    path: &'static str,
    verbs: Vec<Verb>,
    methods: MethodRouter<Arc<App>>,
}

impl Path {
    fn allow(&self) -> &'static str {
        let has = |verb| self.verbs.contains(&verb);
        match (has(Verb::Get), has(Verb::GetAndHead), has(Verb::Post), has(Verb::Put)) {
            (true, _, _, true) => "GET, PUT, OPTIONS",
            (_, _, _, true) => "PUT, OPTIONS",
            (_, true, _, _) => "GET, HEAD, OPTIONS",
            (true, false, true, _) => "GET, POST, OPTIONS",
            (true, false, false, _) => "GET, OPTIONS",
            (false, false, _, _) => "POST, OPTIONS",
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    paths: Vec<Path>,
}

impl Table {
    pub(super) fn on<H, T>(mut self, verb: Verb, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let filter = match verb {
            Verb::Get | Verb::GetAndHead => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
        };
        match self.paths.iter_mut().find(|known| known.path == path) {
            Some(known) => {
                known.verbs.push(verb);
                known.methods = std::mem::take(&mut known.methods).on(filter, handler);
            }
            None => {
                let methods = MethodRouter::new().on(filter, handler);
                self.paths.push(Path { path, verbs: vec![verb], methods });
            }
        }
        self
    }

    /// For the document's check.
    #[cfg(test)]
    pub(super) fn operations(&self) -> impl Iterator<Item = (Method, &'static str)> + '_ {
        self.paths.iter().flat_map(|path| {
            path.verbs.iter().map(|verb| match verb {
                Verb::Get | Verb::GetAndHead => (Method::GET, path.path),
                Verb::Post => (Method::POST, path.path),
                Verb::Put => (Method::PUT, path.path),
            })
        })
    }

    /// What each path takes, as an `Allow` header says it.
    pub(super) fn allowed(&self) -> HashMap<&'static str, &'static str> {
        self.paths.iter().map(|path| (path.path, path.allow())).collect()
    }

    pub(super) fn into_router(self) -> Router<Arc<App>> {
        self.paths.into_iter().fold(Router::new(), |router, path| {
            let allow = path.allow();
            let refuse = move |request: Request| async move { refuse(&request, allow) };
            let methods = if path.verbs.contains(&Verb::GetAndHead) {
                path.methods
            } else {
                path.methods.on(MethodFilter::HEAD, refuse)
            };
            router.route(path.path, methods.fallback(refuse))
        })
    }
}

/// What a path takes, be it one of the table's or made by one of its templates.
pub(super) fn allow(
    allowed: &HashMap<&'static str, &'static str>,
    path: &str,
) -> Option<&'static str> {
    let made_by = |template: &str| {
        let fits = |(wanted, given): (&str, &str)| {
            wanted == given || wanted.starts_with('{') && !given.is_empty()
        };
        template.split('/').count() == path.split('/').count()
            && template.split('/').zip(path.split('/')).all(fits)
    };
    let template = || allowed.iter().find(|(template, _)| made_by(template));
    allowed.get(path).copied().or_else(|| template().map(|(_, allow)| *allow))
}

/// 405 as the path's dialect has it.
fn refuse(request: &Request, allow: &'static str) -> Response {
    let sentence = format!("possible here: {allow}");
    let refusal = if request.uri().path().starts_with("/api/") {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", sentence).into_response()
    } else {
        reply::text(StatusCode::METHOD_NOT_ALLOWED, sentence)
    };
    reply::not_allowed(refusal, allow)
}
