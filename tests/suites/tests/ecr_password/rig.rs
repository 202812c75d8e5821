//! The tool's environment: home folders with AWS profiles, ECR's API with one answer, moto's server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use scar_kit::{Run, peer, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::server::{Listener, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const HOST: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
pub(crate) const ACCOUNT: &str = "123456789012";
/// Long enough to be a canary, in the form of a real one.
pub(crate) const KEY: &str = "canary/SecretAccessKey+2f6e";
pub(crate) const SESSION: &str = "canarySessionToken/7c31==";
pub(crate) const PASSWORD: &str = "eyJwYXlsb2FkIjoiY2FuYXJ5In0=";

/// A home folder with a profile `default` with one key.
pub(crate) fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    write(&home, "credentials", &keys("AKIADEFAULT"));
    home
}

/// A profile's section with this access key.
pub(crate) fn keys(id: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {KEY}\naws_session_token = {SESSION}\n")
}

pub(crate) fn write(home: &TempDir, name: &str, text: &str) {
    let path = home.path().join(".aws").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The tool without instance metadata, which the test machine may have.
pub(crate) fn ecr(home: &TempDir) -> Run {
    let run = tool("ecr-password").home(home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    run.secret(KEY).secret(SESSION)
}

/// The tool for `HOST`, its API at `server`.
pub(crate) fn asks(home: &TempDir, server: &Server) -> Run {
    ecr(home).args([HOST, "--endpoint-url", &server.url()]).called(server.authority(), "API")
}

pub(crate) fn entry(account: &str, user_and_password: &str) -> Value {
    json!({
        "authorizationToken": BASE64.encode(user_and_password),
        "expiresAt": 4_102_444_800.0,
        "proxyEndpoint": format!("https://{account}.dkr.ecr.us-east-1.amazonaws.com"),
    })
}

pub(crate) fn answer(entries: &[Value]) -> Answer {
    Answer::json(200, &json!({ "authorizationData": entries }))
}

pub(crate) fn error(code: &str, message: &str) -> Answer {
    Answer::json(400, &json!({ "__type": code, "message": message }))
}

/// ECR's API with one good token.
pub(crate) fn api(listener: Listener) -> Server {
    let body = json!({ "authorizationData": [entry(ACCOUNT, &format!("AWS:{PASSWORD}"))] });
    Server::start(Router::new().route("/", post(async move |_: axum::body::Bytes| axum::Json(body))), listener)
}

/// ECR's API with this answer to every request.
pub(crate) fn says(answer: Answer) -> Server {
    let server = api(Listener::plain());
    server.faults().on(Match::post("/"), Times::Always, Action::Answer(answer));
    server
}

/// The access key that signed the server's only request.
pub(crate) fn signer(server: &Server) -> String {
    let requests = server.log().matching(&Match::post("/"));
    assert_eq!(requests.len(), 1, "{:?}", server.log().lines());
    let authorization = requests[0].header("authorization").unwrap();
    authorization.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned()
}

/// moto's server on a free port; killed when dropped.
pub(crate) struct Moto {
    child: Child,
    pub(crate) url: String,
}

impl Moto {
    /// `None`, with a note, if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let mut command = Command::new(peer("moto_server")?);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("moto_server starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        // It logs each request; a full pipe would block it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url: url.expect("moto_server says where it listens") })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
