//! Tests of the cluster through its router.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header::AUTHORIZATION, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

const SECRETS: &str = "/api/v1/namespaces/hubble-system/secrets";
const LOG: &str = "/api/v1/namespaces/hubble-system/pods/specman-0/log";

fn request(cluster: &Cluster, method: Method, path: &str, kind: &str, body: Value) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
    let request = request.header(AUTHORIZATION, format!("Bearer {}", cluster.token()));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

async fn send(cluster: &Arc<Cluster>, method: Method, path: &str, kind: &str, body: Value) -> (u16, Value) {
    let request = request(cluster, method, path, kind, body);
    let response = router(cluster.clone()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = || json!(String::from_utf8_lossy(&body));
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

async fn get(cluster: &Arc<Cluster>, path: &str) -> (u16, Value) {
    send(cluster, Method::GET, path, "application/json", Value::Null).await
}

/// An open follow stream.
async fn follow(cluster: &Arc<Cluster>, path: &str) -> Body {
    let request = request(cluster, Method::GET, path, "application/json", Value::Null);
    router(cluster.clone()).oneshot(request).await.unwrap().into_body()
}

async fn next(body: &mut Body) -> Option<Result<String, ()>> {
    let frame = body.frame().await?;
    Some(frame.map(|f| String::from_utf8(f.into_data().unwrap().to_vec()).unwrap()).map_err(drop))
}

fn secret(cluster: &Cluster, name: &str) -> Value {
    cluster.put_secret(SPECMAN_NAMESPACE, name, BTreeMap::from([("k".into(), b"v".to_vec())]));
    cluster.object("secrets", SPECMAN_NAMESPACE, name).unwrap()
}

#[tokio::test]
async fn a_delete_with_a_precondition_that_fails_is_a_conflict_and_deletes_nothing() {
    let cluster = Cluster::start();
    let old = secret(&cluster, "s")["metadata"].clone();
    let new = secret(&cluster, "s")["metadata"].clone();
    let path = format!("{SECRETS}/s");
    let delete = |preconditions: Value| {
        let body = json!({"preconditions": preconditions});
        let (cluster, path) = (cluster.clone(), path.clone());
        async move { send(&cluster, Method::DELETE, &path, "application/json", body).await }
    };
    let (status, body) = delete(json!({"uid": old["uid"]})).await;
    let words = format!(
        "Operation cannot be fulfilled on Secret \"s\": the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted and then recreated",
        old["uid"].as_str().unwrap(),
        new["uid"].as_str().unwrap()
    );
    assert_eq!((status, &body["reason"], &body["message"]), (409, &json!("Conflict"), &json!(words)));
    let stale = json!({"uid": new["uid"], "resourceVersion": old["resourceVersion"]});
    assert_eq!(delete(stale).await.0, 409);
    assert!(cluster.secret(SPECMAN_NAMESPACE, "s").is_some());
    let right = json!({"uid": new["uid"], "resourceVersion": new["resourceVersion"]});
    let (status, body) = delete(right).await;
    assert_eq!((status, &body["status"], &body["details"]["uid"]), (200, &json!("Success"), &new["uid"]));
    assert_eq!(delete(Value::Null).await.1["message"], json!("secrets \"s\" not found"));
}

#[tokio::test]
async fn an_object_with_a_finalizer_stays_until_the_finalizer_is_gone() {
    let cluster = Cluster::start();
    secret(&cluster, "s");
    cluster.edit("secrets", SPECMAN_NAMESPACE, "s", |o| o["metadata"]["finalizers"] = json!(["a/b"]));
    let path = format!("{SECRETS}/s");
    let (status, body) = send(&cluster, Method::DELETE, &path, "application/json", Value::Null).await;
    assert_eq!((status, &body["kind"]), (200, &json!("Secret")));
    assert!(get(&cluster, &path).await.1["metadata"]["deletionTimestamp"].is_string());
    let patch = json!({"metadata": {"finalizers": null}});
    send(&cluster, Method::PATCH, &path, "application/merge-patch+json", patch).await;
    assert_eq!(get(&cluster, &path).await.0, 404);
    secret(&cluster, "t");
    cluster.edit("secrets", SPECMAN_NAMESPACE, "t", |o| {
        o["metadata"]["finalizers"] = json!(["a/b"]);
        o["metadata"]["deletionTimestamp"] = json!("2024-12-06T12:43:14Z");
    });
    assert_eq!(get(&cluster, &format!("{SECRETS}/t")).await.0, 200);
    cluster.edit("secrets", SPECMAN_NAMESPACE, "t", |o| o["metadata"]["finalizers"] = json!([]));
    assert_eq!(get(&cluster, &format!("{SECRETS}/t")).await.0, 404);
}

#[tokio::test]
async fn a_write_of_a_stale_object_is_a_conflict() {
    let cluster = Cluster::start();
    let stale = secret(&cluster, "s");
    let path = format!("{SECRETS}/s");
    cluster.edit("secrets", SPECMAN_NAMESPACE, "s", |o| o["metadata"]["labels"] = json!({"a": "b"}));
    let (status, body) = send(&cluster, Method::PUT, &path, "application/json", stale).await;
    assert_eq!((status, &body["reason"]), (409, &json!("Conflict")));
    let apply = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"l": "dw=="}});
    let kind = "application/apply-patch+yaml";
    assert_eq!(send(&cluster, Method::PATCH, &path, kind, apply.clone()).await.0, 422);
    let path = format!("{path}?fieldManager=test&force=true");
    assert_eq!(send(&cluster, Method::PATCH, &path, kind, apply).await.0, 200);
    assert_eq!(cluster.secret(SPECMAN_NAMESPACE, "s").unwrap().len(), 2);
}

#[tokio::test]
async fn who_is_not_known_is_unauthorized_and_who_may_not_is_forbidden() {
    let cluster = Cluster::start();
    let anonymous = Request::get(SECRETS).body(Body::empty()).unwrap();
    let response = router(cluster.clone()).oneshot(anonymous).await.unwrap();
    assert_eq!(response.status(), 401);
    cluster.set_access(Access::AllBut(vec![Rule::new("list", "secrets")]));
    let (status, body) = get(&cluster, SECRETS).await;
    let words = "secrets is forbidden: User \"kubernetes-admin\" cannot list resource \"secrets\" in API group \"\" in the namespace \"hubble-system\"";
    assert_eq!((status, &body["message"]), (403, &json!(words)));
    let review = |verb: &str| json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": "a"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (verb, allowed) in [("list", false), ("delete", true)] {
        let (status, body) = send(&cluster, Method::POST, path, "application/json", review(verb)).await;
        assert_eq!((status, &body["status"]["allowed"]), (201, &json!(allowed)));
    }
}

#[tokio::test]
async fn each_state_of_a_pod_shows_and_answers_for_its_log() {
    let cluster = Cluster::start();
    cluster.add_specman(1);
    let pod = "/api/v1/namespaces/hubble-system/pods/specman-0";
    let waiting = "container \"specman\" in pod \"specman-0\" is waiting to start: ";
    let cases = [
        (PodState::Pending, "Pending", json!(null), 204, String::new()),
        (PodState::ContainerCreating, "Pending", json!("ContainerCreating"), 400, format!("{waiting}ContainerCreating")),
        (
            PodState::ImagePullBackOff,
            "Pending",
            json!("ImagePullBackOff"),
            400,
            format!("{waiting}trying and failing to pull image"),
        ),
        (PodState::Running, "Running", json!(null), 200, String::new()),
        (PodState::CrashLoopBackOff, "Running", json!("CrashLoopBackOff"), 200, String::new()),
        (PodState::Evicted, "Failed", json!(null), 200, String::new()),
    ];
    for (state, phase, reason, status, words) in cases {
        cluster.set_pod("specman-0", state);
        let (_, object) = get(&cluster, pod).await;
        let shown = &object["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        assert_eq!((&object["status"]["phase"], shown), (&json!(phase), &reason), "{state:?}");
        let (code, body) = get(&cluster, LOG).await;
        assert_eq!(code, status, "{state:?}");
        assert!(words.is_empty() || body["message"] == words, "{state:?}: {body}");
    }
    let (status, body) = get(&cluster, &format!("{LOG}?container=none")).await;
    assert_eq!((status, &body["message"]), (400, &json!("container none is not valid for pod specman-0")));
    assert_eq!(get(&cluster, &format!("{LOG}?sinceTime=2024-12-06T12:43:14Z&sinceSeconds=5")).await.0, 422);
}

#[tokio::test]
async fn a_restart_moves_the_log_to_previous_and_a_successor_has_a_new_uid() {
    let cluster = Cluster::start();
    cluster.add_specman(1);
    cluster.set_pod("specman-0", PodState::Running);
    let (status, body) = get(&cluster, &format!("{LOG}?previous=true")).await;
    let words = "previous terminated container \"specman\" in pod \"specman-0\" not found";
    assert_eq!((status, &body["message"]), (400, &json!(words)));
    cluster.line_at("specman-0", "2024-12-06T12:43:14.5Z".parse().unwrap(), "one");
    cluster.restart_container("specman-0");
    assert_eq!(get(&cluster, LOG).await.1, json!(""));
    assert_eq!(get(&cluster, &format!("{LOG}?previous=true")).await.1, json!("one\n"));
    let object = cluster.object("pods", SPECMAN_NAMESPACE, "specman-0").unwrap();
    assert_eq!(object["status"]["containerStatuses"][0]["restartCount"], 1);
    let before = cluster.pod_uid("specman-0");
    cluster.replace_pod("specman-0");
    assert_ne!(cluster.pod_uid("specman-0"), before);
    assert_eq!(get(&cluster, &format!("{LOG}?previous=true")).await.0, 400);
    cluster.pause_controller(true);
    cluster.replace_pod("specman-0");
    assert_eq!(get(&cluster, LOG).await.0, 404);
}

#[tokio::test]
async fn a_follow_stream_is_silent_after_a_rotation_and_can_be_cut_both_ways() {
    let cluster = Cluster::start();
    cluster.add_specman(1);
    let path = format!("{LOG}?follow=true");
    let line = |text: &str| cluster.line_at("specman-0", Timestamp::now(), text);
    // As with a kubelet, an answer begins with its first line.
    line("one");
    let mut silent = follow(&cluster, &path).await;
    assert_eq!(next(&mut silent).await, Some(Ok("one\n".into())));
    cluster.rotate_log("specman-0");
    line("two");
    let mut heard = follow(&cluster, &path).await;
    assert_eq!(next(&mut heard).await, Some(Ok("two\n".into())));
    let quiet = tokio::time::timeout(Duration::from_millis(50), next(&mut silent)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(cluster.streams("specman-0"), 2);
    cluster.cut_streams("specman-0", Cut::End);
    assert_eq!(next(&mut silent).await, None);
    assert_eq!(next(&mut heard).await, None);
    let mut broken = follow(&cluster, &path).await;
    assert_eq!(next(&mut broken).await, Some(Ok("two\n".into())));
    cluster.cut_streams("specman-0", Cut::Break);
    assert_eq!(next(&mut broken).await, Some(Err(())));
    drop((silent, heard, broken));
    assert_eq!(cluster.streams("specman-0"), 0);
}

#[tokio::test]
async fn a_line_can_come_in_two_chunks_and_as_two_entries_of_the_file() {
    let cluster = Cluster::start();
    cluster.add_statefulset("many", 1, &["a", "b"]);
    cluster.split_lines(true);
    let time = "2024-12-06T12:43:14Z".parse().unwrap();
    cluster.entry("many-0", Some("b"), time, b"Persisting ", false);
    cluster.entry("many-0", Some("b"), time, b"0.0.0", true);
    let path = "/api/v1/namespaces/hubble-system/pods/many-0/log";
    let (status, body) = get(&cluster, path).await;
    let words = "a container name must be specified for pod many-0, choose one of: [a b]";
    assert_eq!((status, &body["message"]), (400, &json!(words)));
    let mut body = follow(&cluster, &format!("{path}?container=b&follow=true&timestamps=true")).await;
    let (first, second) = (next(&mut body).await.unwrap().unwrap(), next(&mut body).await.unwrap().unwrap());
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!(first + &second, "2024-12-06T12:43:14.000000000Z Persisting 0.0.0\n");
}

#[tokio::test]
async fn a_watch_says_what_is_there_and_then_each_change() {
    let cluster = Cluster::start();
    secret(&cluster, "s");
    let mut body = follow(&cluster, &format!("{SECRETS}?watch=true&fieldSelector=metadata.name%3Ds")).await;
    assert!(next(&mut body).await.unwrap().unwrap().starts_with(r#"{"type":"ADDED""#));
    secret(&cluster, "other");
    cluster.remove("secrets", SPECMAN_NAMESPACE, "s");
    assert!(next(&mut body).await.unwrap().unwrap().starts_with(r#"{"type":"DELETED""#));
}

#[tokio::test]
async fn a_path_outside_the_subset_is_unexpected() {
    let cluster = Cluster::start();
    assert_eq!(get(&cluster, "/api/v1/configmaps").await.0, 501);
    assert_eq!(get(&cluster, "/apis/metrics.k8s.io/v1beta1").await.0, 404);
}
