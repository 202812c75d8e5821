//! Handles a request: user, document or object, verb, permission, and then the verb itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{Method, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::objects::{Selection, in_list};
use super::resource::Target;
use super::status::{Refusal, answer, bad_request, failure, no_such_path, not_allowed, not_found};
use super::{Cluster, access, admission, discovery, forward, logs, protobuf, table, watch_stream, write};
use crate::server::{PeerCertificates, unexpected, unscripted};

const LARGEST_BODY: usize = 3 << 20;
/// The time that the garbage collector needs to find an object without existing owners.
const COLLECTED: Duration = Duration::from_millis(500);

/// Every path of the API server.
pub(super) async fn serve(State(cluster): State<Arc<Cluster>>, request: Request) -> Response<Body> {
    match handle(&cluster, request).await {
        Ok(response) => response,
        Err(refusal) => *refusal,
    }
}

async fn handle(cluster: &Arc<Cluster>, request: Request) -> Result<Response<Body>, Refusal> {
    let (mut head, body) = request.into_parts();
    let peer = head.extensions.get::<PeerCertificates>();
    let user = {
        let certificate = peer.and_then(|p| p.0.first());
        cluster.lock().users.identify(&head.headers, certificate)?
    };
    let uri = head.uri.clone();
    let path = uri.path();
    if head.method == Method::GET {
        if ["/healthz", "/livez", "/readyz"].contains(&path) {
            return Ok(Response::new(Body::from("ok")));
        }
        if let Some(document) = discovery::document(path) {
            return Ok(answer(200, &document));
        }
    }
    let Some(target) = Target::parse(path) else {
        // Clients probe for optional groups, and for the older OpenAPI.
        let probe = path.starts_with("/apis/") || path.starts_with("/openapi/");
        return match probe && head.method == Method::GET {
            true => Err(no_such_path()),
            false => Ok(unscripted()),
        };
    };
    let Query(query) = Query::<HashMap<String, String>>::try_from_uri(&head.uri).map_err(|e| bad_request(&e.to_string()))?;
    let watches = query.get("watch").is_some_and(|w| w == "true" || w == "1");
    let verb = match (&head.method, target.name.is_some()) {
        (&Method::GET, true) => "get",
        (&Method::GET, false) if watches => "watch",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        _ => return Ok(unexpected(*not_allowed())),
    };
    access::check(&cluster.lock().access, &user, verb, &target)?;
    if !target.resource.verbs.contains(&verb) {
        return Ok(unexpected(*not_allowed()));
    }
    match (verb, target.subresource.as_deref()) {
        ("get", Some("log")) if target.resource.plural == "pods" => return logs::log(cluster, &target, &query).await,
        ("get" | "create", Some("portforward")) if target.resource.plural == "pods" => {
            // The operation is CONNECT (apiserver pkg/endpoints/handlers/rest.go, ConnectResource).
            admission::ask(cluster).await?;
            if forward::is_websocket(&head.headers) {
                // Since 1.35 a GET that upgrades to a WebSocket needs the permission of SPDY's POST.
                access::check(&cluster.lock().access, &user, "create", &target)?;
            }
            return forward::open(cluster, &target, &query, &mut head);
        }
        (_, Some(_)) => return Ok(unexpected(*no_such_path())),
        ("watch", _) => {
            let number = |name: &str| query.get(name).and_then(|v| v.parse().ok());
            let (since, timeout) = (number("resourceVersion"), number("timeoutSeconds"));
            let (plural, selection) = (target.resource.plural, selection(&query)?);
            return Ok(watch_stream::open(cluster, plural, &target.namespace, selection, since, timeout));
        }
        ("get" | "list", _) => return read(cluster, &target, &query, &head.headers),
        _ => {}
    }
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content_type = content_type.unwrap_or("application/json");
    let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    let sent = match body.is_empty() {
        true => Value::Null,
        false => parse(&body, content_type)?,
    };
    if target.resource.verbs == ["create"] {
        let access = cluster.lock().access.clone();
        return Ok(answer(201, &access::review(&access, &user, target.resource, &sent)));
    }
    let sent_name = sent["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    admission::ask(cluster).await?;
    let mut state = cluster.lock();
    let answer = match verb {
        "create" => write::create(&mut state, &target, &query, sent),
        "update" => write::update(&mut state, &target, &query, sent),
        "patch" => write::patch(&mut state, &target, &query, content_type, sent),
        _ => write::delete(&mut state, &target, &query, &sent),
    };
    if verb == "create" && write::is_garbage(&state, &target, &sent_name) {
        let (cluster, plural, namespace) = (cluster.clone(), target.resource.plural, target.namespace.to_string());
        tokio::spawn(async move {
            tokio::time::sleep(COLLECTED).await;
            cluster.remove(plural, &namespace, &sent_name);
        });
    }
    drop(state);
    cluster.notify();
    answer
}

/// JSON, and reviews in protobuf; a real server also accepts YAML and all protobuf, which our clients do not send.
fn parse(body: &[u8], content_type: &str) -> Result<Value, Refusal> {
    if content_type == "application/vnd.kubernetes.protobuf"
        && let Some(review) = protobuf::review(body)
    {
        return Ok(review);
    }
    if !content_type.contains("json") && !content_type.contains("apply-patch") {
        let words = format!("the body of the request was in an unknown format: {content_type}");
        return Err(Box::new(unexpected(*failure(415, "UnsupportedMediaType", &words, Value::Null))));
    }
    serde_json::from_slice(body).map_err(|e| bad_request(&format!("error decoding: {e}")))
}

fn selection(query: &HashMap<String, String>) -> Result<Selection, Refusal> {
    let word = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    Selection::read(word("labelSelector"), word("fieldSelector")).map_err(|w| bad_request(&w))
}

fn read(
    cluster: &Cluster,
    target: &Target<'_>,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let accept = headers.get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    let as_table = accept.contains("as=Table");
    let state = cluster.lock();
    let resource = target.resource;
    let objects: Vec<&Value> = match &target.name {
        Some(name) => {
            let object = state.objects.get(resource.plural, &target.namespace, name);
            let object = object.ok_or_else(|| not_found(resource, name))?;
            if !as_table {
                return Ok(answer(200, object));
            }
            vec![object]
        }
        None => {
            let selection = selection(query)?;
            let all = state.objects.list(resource.plural, &target.namespace);
            all.filter(|o| selection.selects(o)).collect()
        }
    };
    let version = state.objects.revision.to_string();
    if as_table {
        return Ok(answer(200, &table::table(resource, &version, &objects, Timestamp::now())));
    }
    Ok(answer(
        200,
        &json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": version},
            "items": objects.into_iter().map(in_list).collect::<Vec<_>>()
        }),
    ))
}
