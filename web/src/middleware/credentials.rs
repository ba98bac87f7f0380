//! Reads the credentials of a request, and removes cookies of invalid sessions.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;

use crate::app::AppState;
use crate::auth::client::Client;
use crate::auth::request_auth::RequestAuth;

/// Adds a [`RequestAuth`] to the extensions of a request.
pub(super) async fn read(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let (extensions, headers, accounts) = (request.extensions(), request.headers(), &state.accounts);
    let client = Client::of(extensions, headers, request.uri(), &accounts.proxies, accounts.https);
    let auth = RequestAuth::new(headers, client);
    request.extensions_mut().insert(auth);
    next.run(request).await
}

/// Removes the cookie if the endpoint found that its session is not valid, unless the response sets another cookie.
pub(super) async fn remove_invalid_cookie(request: Request, next: Next) -> Response {
    let auth = request.extensions().get::<RequestAuth>().cloned();
    let mut response = next.run(request).await;
    if let Some(auth) = auth.filter(RequestAuth::is_stale)
        && !response.headers().contains_key(header::SET_COOKIE)
        && let Some(cookie) = auth.set_cookie(None)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
