//! Every tool that connects ends in time, and at a signal, whatever the network does: within a second, with one status for
//! each cause, and a message that names the host (rows Q30, Q31 and P43).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scar_kit::{Outcome, Run, Signal, binary, program, secret};
use scar_lab::kube::{Ca, Kubeconfig, Login};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The `--timeout` of a run.
const LIMIT: Duration = Duration::from_millis(1500);
/// How much later it may end, also after a signal.
const SOON: Duration = Duration::from_secs(1);
/// The time that a busy machine takes to start a process and notice its end.
const MACHINE: Duration = Duration::from_millis(700);
/// The number of parallel runs: most of them only wait.
const ABREAST: usize = 12;
/// The `--timeout` of a run that ends sooner by what it meets.
const AMPLE: Duration = Duration::from_secs(30);

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    /// Its name server never answers.
    SilentNames,
    /// Nothing listens.
    Refused,
    /// Packets to it are dropped.
    Blackhole,
    /// It accepts, but sends nothing.
    Silence,
    /// The same, where TLS should begin.
    TlsSilence,
    /// It sends half an answer's header.
    HalfHeader,
    /// It sends half an answer's body.
    HalfBody,
}

const PEERS: [Peer; 7] =
    [Peer::SilentNames, Peer::Refused, Peer::Blackhole, Peer::Silence, Peer::TlsSilence, Peer::HalfHeader, Peer::HalfBody];

/// What ends a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Timeout,
    Interrupt,
    Terminate,
}

const ENDS: [End; 3] = [End::Timeout, End::Interrupt, End::Terminate];

/// The tools that connect; `specman-verify` by a port-forward, too.
const CONNECTING: [&str; 11] = [
    "scar-preflight",
    "scar-secret-rm",
    "ocipush",
    "vertex-login",
    "pack-registry-set",
    "specman-wait",
    "specman-verify",
    "specman-verify (forward)",
    "scar-set",
    "scar-get",
    "ecr-password",
];

/// A simulated peer.
struct Place {
    scheme: &'static str,
    authority: String,
    /// Whether the tool is waiting for its answer.
    met: Box<dyn Fn() -> bool>,
    resolv: Option<String>,
    _held: Vec<Box<dyn Send>>,
}

impl Peer {
    /// `None` if this machine cannot simulate it.
    fn start(self) -> Option<Place> {
        let place = |scheme, authority: String, met: Box<dyn Fn() -> bool>, held| Place {
            scheme,
            authority,
            met,
            resolv: None,
            _held: held,
        };
        Some(match self {
            Self::SilentNames => {
                // A name server only listens on port 53; each case has its own address.
                static NEXT: AtomicUsize = AtomicUsize::new(2);
                let number = NEXT.fetch_add(1, Ordering::SeqCst);
                let address = Ipv4Addr::new(127, 53, (number / 250) as u8, (number % 250 + 1) as u8);
                let socket = UdpSocket::bind((address, 53)).ok()?;
                socket.set_nonblocking(true).unwrap();
                let met = move || socket.peek_from(&mut [0; 1]).is_ok();
                let resolv = Some(format!("nameserver {address}\n"));
                Place { resolv, ..place("https", "silent.example".to_owned(), Box::new(met), vec![]) }
            }
            Self::Refused => {
                let socket = TcpListener::bind("127.0.0.1:0").unwrap();
                let authority = socket.local_addr().unwrap().to_string();
                drop(socket);
                place("http", authority, Box::new(|| true), vec![])
            }
            Self::Blackhole => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let listener = runtime.block_on(async {
                    let socket = tokio::net::TcpSocket::new_v4().unwrap();
                    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                    socket.listen(0).unwrap()
                });
                let address = listener.local_addr().unwrap();
                // A queue of length 0 takes one connection; the kernel drops others.
                let filler = TcpStream::connect(address).unwrap();
                let met = move || syn_sent(address.port());
                place("http", address.to_string(), Box::new(met), vec![Box::new((runtime, listener, filler))])
            }
            Self::Silence | Self::TlsSilence | Self::HalfHeader | Self::HalfBody => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let authority = listener.local_addr().unwrap().to_string();
                let asked = Arc::new(AtomicBool::new(false));
                let seen = Arc::clone(&asked);
                let begin: &[u8] = match self {
                    Self::HalfHeader => b"HTTP/1.1 200 OK\r\ncontent-le",
                    Self::HalfBody => b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"me",
                    _ => b"",
                };
                let held = Arc::new(Mutex::new(Vec::new()));
                let kept = Arc::clone(&held);
                std::thread::spawn(move || {
                    for mut stream in listener.incoming().map_while(Result::ok) {
                        let (seen, kept) = (Arc::clone(&seen), Arc::clone(&kept));
                        std::thread::spawn(move || {
                            let _ = stream.read(&mut [0; 4096]);
                            let _ = stream.write_all(begin);
                            kept.lock().unwrap().push(stream);
                            seen.store(true, Ordering::SeqCst);
                        });
                    }
                });
                let scheme = if self == Self::TlsSilence { "https" } else { "http" };
                place(scheme, authority, Box::new(move || asked.load(Ordering::SeqCst)), vec![Box::new(held)])
            }
        })
    }

    /// The status after the timeout; a refusal shows earlier.
    fn status(self) -> i32 {
        if self == Self::Refused { 6 } else { 8 }
    }
}

/// Whether somebody's SYN to this port on loopback has no answer (`/proc/net/tcp`, state 02).
fn syn_sent(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!("0100007F:{port:04X}");
    table.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2] == remote && fields[3] == "02"
    })
}

/// The files that the tools' options name.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(place: &Place) -> Self {
        let desk = Self { folder: TempDir::new().unwrap() };
        desk.write("password", &secret("canary-ends-1"));
        desk.write("manifests.tgz", "\u{1f}not much of an archive");
        desk.write("resolv.conf", place.resolv.as_deref().unwrap_or_default());
        for folder in ["tree", ".aws"] {
            std::fs::create_dir(desk.path().join(folder)).unwrap();
        }
        let key = secret("canary/ends+key");
        desk.write(".aws/credentials", &format!("[default]\naws_access_key_id = AKIAENDS\naws_secret_access_key = {key}\n"));
        // The length that the half-sent body promises.
        desk.write("tree/file", &"content\n".repeat(25)[..100]);
        let mut config = Kubeconfig::new(&desk.url(place), Ca::Insecure);
        config.login = Login::Token(secret("canary-ends-token"));
        config.write(&desk.path().join("kubeconfig")).unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn url(&self, place: &Place) -> String {
        format!("{}://{}", place.scheme, place.authority)
    }

    /// The record that a step starts with.
    fn record(&self, place: &Place) -> Value {
        let digest = format!("sha256:{}", "0".repeat(64));
        let repository = "spectro-packs/spectro-manifests/manifest";
        json!({
            "record": "scar-tools/1",
            "artifact": {
                "reference": format!("harbor.example/{repository}:0.0.0"), "registry": "harbor.example",
                "repository": repository, "tag": "0.0.0", "digest": digest, "layer": digest, "size": 42,
                "created": "2024-12-06T12:40:00Z", "pushed_at": "2024-12-06T12:40:05Z", "uploaded": true
            },
            "session": {"endpoint": self.url(place), "authorization": secret("canary.ends.session"), "insecure": false},
            "pack_registry": {
                "uid": "r1", "name": "harbor", "kind": "basic", "endpoint": "https://harbor.example",
                "vertex": self.url(place), "contains_spectro_manifest": true, "changed": true
            },
            "specman": {
                "namespace": "hubble-system", "tag": "0.0.0", "persisted_at": "2024-12-06T12:43:14Z", "pods": ["specman-0"]
            },
            "verified": {
                "layer": digest, "compared": 1, "missing": 0, "different": 0, "unreadable": 0, "bytes": 7, "source": "x"
            }
        })
    }

    /// A tool that connects to `place`.
    fn run(&self, name: &str, place: &Place, limit: Option<Duration>) -> Run {
        let (url, plain) = (self.url(place), place.scheme == "http");
        let words: Vec<&str> = match name {
            "scar-preflight" => {
                vec!["--only", "platform", "--endpoint", &url, "--vertex-password-file", "password"]
            }
            "ocipush" if plain => vec![&place.authority, "manifests.tgz", "--plain-http"],
            "ocipush" => vec![&place.authority, "manifests.tgz"],
            "vertex-login" => vec![&url, "--password-file", "password"],
            "specman-verify" => vec!["--url", &url, "tree"],
            "specman-verify (forward)" => vec!["tree"],
            "scar-set" => vec!["--settle", "1ms"],
            "ecr-password" => vec!["--region", "us-east-1", "--endpoint-url", &url],
            _ => vec![],
        };
        let program_name = name.split(' ').next().unwrap();
        let run = match &place.resolv {
            // Not recorded in the message snapshots: which of two limits ends a request first depends on the load.
            None => program(binary(program_name)),
            // In a mount namespace with another /etc/resolv.conf.
            Some(_) => program("unshare")
                .args(["-m", "sh", "-c", "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"", "sh"])
                .arg(binary(program_name)),
        };
        let run = run.args(words).folder(self.path()).env("KUBECONFIG", self.path().join("kubeconfig"));
        let run = run.env("AWS_EC2_METADATA_DISABLED", "true").home(self.path());
        let run = match limit {
            Some(limit) => run.arg("--timeout").arg(format!("{}ms", limit.as_millis())),
            None => run,
        };
        if name == "ecr-password" { run } else { run.record(&self.record(place)) }
    }
}

/// Runs one cell of the matrix, and returns its violations.
fn cell(name: &str, peer: Peer, end: End) -> Vec<String> {
    let Some(place) = peer.start() else { return Vec::new() };
    let desk = Desk::new(&place);
    let limit = if peer == Peer::Refused { AMPLE } else { LIMIT };
    let mut running = desk.run(name, &place, (end == End::Timeout).then_some(limit)).start();
    // Measure from here: starting a process is not the tool's time.
    while !(place.met)() && !running.is_over() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let met = Instant::now();
    let limit = match end {
        // It ends by itself, possibly before its timeout.
        End::Timeout if peer == Peer::Refused => return judge(name, peer, end, &place, &running.wait(), Duration::ZERO),
        End::Timeout => LIMIT,
        End::Interrupt | End::Terminate => {
            running.signal(if end == End::Interrupt { Signal::INT } else { Signal::TERM });
            Duration::ZERO
        }
    };
    while !running.is_over() && met.elapsed() < limit + SOON * 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let late = met.elapsed().saturating_sub(limit);
    judge(name, peer, end, &place, &running.wait(), late)
}

fn judge(name: &str, peer: Peer, end: End, place: &Place, outcome: &Outcome, late: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claim = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{name}, {peer:?}, {end:?}: {what}\n{outcome}"));
        }
    };
    let status = match end {
        // Its lines show each side's result; its status means a missing prerequisite.
        End::Timeout if name == "scar-preflight" => 3,
        End::Timeout => peer.status(),
        End::Interrupt => 130,
        End::Terminate => 143,
    };
    claim(outcome.status() == status, format!("{} and not {status}", outcome.status()));
    claim(late < SOON + MACHINE, format!("{late:?} late"));
    claim(end != End::Timeout || outcome.stderr().contains(&place.authority), format!("'{}' is not named", place.authority));
    wrong
}

/// Runs all cells of these peers, some in parallel.
fn all(peers: &[Peer], ends: &[End]) {
    let cells: Vec<_> = peers
        .iter()
        .flat_map(|peer| ends.iter().map(move |end| (*peer, *end)))
        .filter(|(peer, end)| *peer != Peer::Refused || *end == End::Timeout)
        .flat_map(|(peer, end)| CONNECTING.iter().map(move |name| (*name, peer, end)))
        .collect();
    let (next, again) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some((name, peer, end)) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if !cell(name, *peer, *end).is_empty() {
                        again.lock().unwrap().push((*name, *peer, *end));
                    }
                }
            });
        }
    });
    // Alone, so that no other run takes its time.
    let wrong: Vec<_> = again.into_inner().unwrap().into_iter().flat_map(|(name, peer, end)| cell(name, peer, end)).collect();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
}

#[test]
fn q30_a_silent_name_server_blocks_no_run() {
    all(&PEERS[..1], &ENDS);
}

#[test]
fn q31_one_clock_ends_every_run_whatever_the_server_does() {
    all(&PEERS[1..], &[End::Timeout]);
}

#[test]
fn q31_a_signal_ends_every_run_whatever_the_server_does() {
    all(&PEERS[1..], &[End::Interrupt, End::Terminate]);
}
