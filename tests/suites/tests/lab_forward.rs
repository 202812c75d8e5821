//! Checks the lab's port-forward with kube-rs: a client that kube would not accept proves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client, Config};
use scar_lab::certs::Certs;
use scar_lab::kube::{Access, Cluster, Cut, PodState, Rule, router};
use scar_lab::server::{Listener, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(10);
const PORT: u16 = 8443;

struct Rig {
    cluster: Arc<Cluster>,
    _server: Server,
    echo: Server,
    client: Client,
    pods: Api<Pod>,
}

/// A cluster whose pod `specman-0` answers HTTP on its port.
fn rig() -> Rig {
    let (certs, cluster) = (Certs::new(&[]), Cluster::start());
    cluster.add_specman(1);
    let echo = axum::Router::new().route("/x", axum::routing::post(async |body: axum::body::Bytes| body));
    let echo = Server::start(echo, Listener::plain());
    cluster.serve_port("specman-0", PORT, echo.addr());
    let server = Server::start(router(cluster.clone()), Listener::tls(certs.server_config()));
    let mut config = Config::new(server.url().parse().unwrap());
    config.root_cert = Some(vec![certs.server().der().to_vec(), ca(&certs)]);
    config.auth_info.token = Some(cluster.token().into());
    let client = Client::try_from(config).unwrap();
    let pods = Api::namespaced(client.clone(), "hubble-system");
    Rig { cluster, _server: server, echo, client, pods }
}

fn ca(certs: &Certs) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(certs.ca_pem().as_bytes()).unwrap().to_vec()
}

async fn open(rig: &Rig, port: u16) -> Portforwarder {
    rig.pods.portforward("specman-0", &[port]).await.unwrap()
}

/// Posts `size` bytes and returns the answer's body.
async fn post(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), size: usize) -> Vec<u8> {
    let head = format!("POST /x HTTP/1.1\r\nhost: specman\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let (sent, read) = tokio::join!(
        async {
            writer.write_all(head.as_bytes()).await?;
            writer.write_all(&vec![b'x'; size]).await
        },
        reader.read_to_end(&mut answer)
    );
    sent.unwrap();
    read.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

#[tokio::test]
async fn kube_reaches_a_pod_through_a_forward() {
    let rig = rig();
    let mut forward = open(&rig, PORT).await;
    let mut stream = forward.take_stream(PORT).unwrap();
    assert_eq!(rig.cluster.forwards("specman-0"), 1);
    assert_eq!(post(&mut stream, 3_000_000).await, vec![b'x'; 3_000_000]);
    drop(stream);
    // The server closes when the pod is finished; it does not matter that kube cannot say goodbye then.
    drop(forward.join().await);
    assert!(rig.cluster.wait_for_forwards("specman-0", 0, LIMIT));
    assert_eq!(rig.echo.log().lines(), ["POST /x -> 200"]);
}

#[tokio::test]
async fn a_port_without_a_listener_is_an_error_on_its_channel() {
    let rig = rig();
    let mut forward = open(&rig, 81).await;
    let words = forward.take_error(81).unwrap().await.unwrap();
    assert!(words.starts_with("error forwarding port 81 to pod ") && words.ends_with("connect: connection refused"), "{words}");
}

#[tokio::test]
async fn a_forward_ends_with_a_cut_with_its_pod_and_with_its_container() {
    let rig = rig();
    let ends: [&dyn Fn(); 4] = [
        &|| rig.cluster.cut_forwards("specman-0", Cut::End),
        &|| rig.cluster.cut_forwards("specman-0", Cut::Break),
        &|| rig.cluster.set_pod("specman-0", PodState::OomKilled),
        &|| rig.cluster.replace_pod("specman-0"),
    ];
    for end in ends {
        rig.cluster.set_pod("specman-0", PodState::Running);
        let mut forward = open(&rig, PORT).await;
        let mut stream = forward.take_stream(PORT).unwrap();
        end();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the forward stays open");
    }
    let mut forward = open(&rig, PORT).await;
    assert_eq!(post(&mut forward.take_stream(PORT).unwrap(), 1).await, b"x", "the successor is reached");
}

#[tokio::test]
async fn refusals_are_those_of_an_api_server() {
    let rig = rig();
    let code = async |pod: &str| match rig.pods.portforward(pod, &[PORT]).await {
        Err(kube::Error::Api(status)) => (status.code, status.message),
        Err(error) => panic!("{error:?}"),
        Ok(_) => (101, String::new()),
    };
    assert_eq!(code("specman-9").await, (404, "pods \"specman-9\" not found".to_owned()));
    for verb in ["get", "create"] {
        rig.cluster.set_access(Access::AllBut(vec![Rule::new(verb, "pods/portforward")]));
        let (status, words) = code("specman-0").await;
        assert_eq!(status, 403);
        assert!(words.contains(&format!("cannot {verb} resource \"pods/portforward\"")), "{words}");
    }
    rig.cluster.set_access(Access::Only(vec![Rule::new("get", "pods/portforward"), Rule::new("create", "pods/portforward")]));
    assert_eq!(code("specman-0").await.0, 101);
    rig.cluster.set_pod("specman-0", PodState::Pending);
    assert_eq!(code("specman-0").await, (400, "pod specman-0 does not have a host assigned".to_owned()));
}

/// All versions of the kubelet do this.
#[tokio::test]
async fn q70_an_accept_header_for_anything_in_particular_is_a_406() {
    let rig = rig();
    let path = "/api/v1/namespaces/hubble-system/pods/specman-0/portforward?ports=8443";
    let ask = async |accept: &str| {
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
        match rig.client.connect(request).await {
            Err(kube::Error::Api(status)) => status.code,
            Err(error) => panic!("{error:?}"),
            Ok(_) => 101,
        }
    };
    for (accept, status) in [("application/json", 406), ("text/plain, */*;q=0.8", 101), ("*/*", 101)] {
        assert_eq!(ask(accept).await, status, "{accept}");
    }
}
