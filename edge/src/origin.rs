//! Which web pages may talk to this edge.
//!
//! A browser says with `Origin` which site a page is from. The edge's own and the listed ones are
//! let in; without the header it is no page of a browser, and there is nothing to protect.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::sync::Arc;

/// The origins let in beside the edge's own.
#[derive(Clone, Debug)]
pub struct Allowed(Arc<[String]>);

impl From<Vec<String>> for Allowed {
    fn from(origins: Vec<String>) -> Self {
        Self(origins.into())
    }
}

/// What an origin is to this edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The same site, or no page at all.
    Same,
    /// Another site, listed.
    Listed,
    /// Another site.
    Foreign,
}

impl Allowed {
    fn relation(&self, headers: &HeaderMap) -> Relation {
        let Some(origin) = headers.get(header::ORIGIN) else { return Relation::Same };
        let Ok(origin) = origin.to_str() else { return Relation::Foreign };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if let (Some(authority), Some(host)) = (authority, host)
            && authority.eq_ignore_ascii_case(host)
        {
            return Relation::Same;
        }
        let is_listed = self.0.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin));
        if is_listed { Relation::Listed } else { Relation::Foreign }
    }
}

/// Refuses requests of pages from elsewhere.
pub async fn check(State(allowed): State<Allowed>, request: Request, next: Next) -> Response {
    let relation = allowed.relation(request.headers());
    if relation == Relation::Foreign {
        let message = "this origin is not allowed: add it to WS_ALLOWED_ORIGINS";
        return (StatusCode::FORBIDDEN, Json(json!({"error": message}))).into_response();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    if let (Relation::Listed, Some(origin)) = (relation, origin) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Relation};
    use axum::http::{HeaderMap, HeaderValue, header};

    fn check(listed: &[&str], origin: Option<&str>, expected: Relation) {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("edge.example:3002"))]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a header value"));
        }
        let allowed = Allowed::from(listed.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(allowed.relation(&headers), expected, "{origin:?} with {listed:?}");
    }

    #[test]
    fn only_own_and_listed_origins_are_let_in() {
        check(&[], None, Relation::Same);
        check(&[], Some("http://edge.example:3002"), Relation::Same);
        check(&[], Some("https://EDGE.example:3002"), Relation::Same);
        check(&[], Some("http://edge.example"), Relation::Foreign);
        check(&[], Some("http://edge.example:3002.evil.example"), Relation::Foreign);
        check(&[], Some("null"), Relation::Foreign);
        check(&["https://app.example"], Some("https://app.example"), Relation::Listed);
        check(&["https://app.example"], Some("http://app.example"), Relation::Foreign);
        check(&["*"], Some("https://any.example"), Relation::Listed);
    }
}
