//! Collects endpoints into a router and a description, and attaches the access of each.

use std::sync::Arc;

use axum::{Extension, Router};
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::AppState;
use crate::auth::access::Access;

/// The field of an operation in the description that holds its access.
pub(super) const ACCESS: &str = "x-access";

/// Endpoints with their access.
pub(super) struct Endpoints(OpenApiRouter<Arc<AppState>>);

impl Endpoints {
    /// No endpoints yet, in the frame of this description.
    pub(super) fn new(frame: OpenApi) -> Self {
        Self(OpenApiRouter::with_openapi(frame))
    }

    /// Adds the handlers of one path. A list, whose path ends in a slash, also answers without the slash.
    pub(super) fn add(self, access: Access, routes: UtoipaMethodRouter<Arc<AppState>>) -> Self {
        let (schemas, mut paths, handlers) = routes;
        let handlers = handlers.route_layer(Extension(access));
        let mut router = self.0;
        for (path, item) in &mut paths.paths {
            for operation in operations(item) {
                operation.extensions = Some(Extensions::from_iter([(ACCESS, access.name())]));
            }
            if let Some(path) = path.strip_suffix('/') {
                router = router.route(path, handlers.clone());
            }
        }
        Self(router.routes((schemas, paths, handlers)))
    }

    /// The router, and the description without what holds for every operation.
    pub(super) fn finish(self) -> (Router<Arc<AppState>>, Value) {
        let (router, document) = self.0.split_for_parts();
        // A description always converts to JSON; tests would find an empty one.
        (router, serde_json::to_value(document).unwrap_or_default())
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}
