//! Docker's credential helpers: `docker-credential-NAME get`, the registry on its standard input.
//!
//! Invariants: the name is a plain name, so that no other program runs; the helper has no terminal and a bounded time, and
//! so has whatever it leaves behind with its streams; its answer is bounded; what it says on standard error is shown, its answer never.

use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use scar_tool::{Console, Failure};
use serde::Deserialize;

use super::Login;

/// How long a helper may take.
const TIME: Duration = Duration::from_secs(30);
/// How long its streams may stay open after it, where it left somebody behind that holds them.
const AFTER: Duration = Duration::from_secs(1);
/// The most bytes that it may answer.
const LIMIT: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper; `None` if it has no login for the registry, or is not installed.
///
/// # Errors
/// Exit 2 for a name that is none, a helper that fails, hangs, or answers with something else.
pub(crate) fn get(name: &str, registry: &str, from: &str, console: &Console) -> Result<Option<Login>, Failure> {
    let act = format!("ask the credential helper '{name}' of {from}");
    let refuse = |cause: String| Failure::misuse(format!("{act}: {cause}"));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(refuse("it is no plain name, and was not run".to_owned()));
    }
    let program = format!("docker-credential-{name}");
    console.verbose(|| format!("asking '{program}' for the login to '{registry}'"));
    let run = Command::new(&program).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match run {
        Ok(child) => child,
        // The file may come from another host, such as "credsStore": "desktop.exe", and the registry may ask for no login.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            console.warn(format!("{act}: '{program}' is not installed; going on without"));
            return Ok(None);
        }
        Err(error) => return Err(refuse(format!("run '{program}': {error}"))),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says why in another way.
        let _ = stdin.write_all(registry.as_bytes());
    }
    let (stdout, stderr) = (Gathered::new(child.stdout.take()), Gathered::new(child.stderr.take()));
    let Some(success) = wait(&mut child).map_err(|error| refuse(error.to_string()))? else {
        return Err(refuse(format!("it gave no answer within {} s", TIME.as_secs())));
    };
    let end = Instant::now() + AFTER;
    let (stdout, stderr) = (stdout.until(end), stderr.until(end));
    if !success {
        let said = scar_tool::bounded(if stderr.is_empty() { &stdout } else { &stderr });
        // The protocol's own words for "none", on standard output.
        if scar_tool::bounded(&stdout).contains("credentials not found") {
            return Ok(None);
        }
        return Err(refuse(format!("it failed: {said}")));
    }
    let answer: Answer = serde_json::from_slice(&stdout).map_err(|_| refuse("its answer is not the expected JSON".to_owned()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(answer.secret.into()),
        _ => Login::Password { username: answer.username, password: answer.secret.into() },
    }))
}

/// What a stream has brought so far.
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Gathered {
    fn new(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let Some(stream) = stream else { return };
            let mut stream = stream.take(LIMIT);
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..read]);
            }
        });
        Self { bytes, reader }
    }

    /// All that came before the stream's end, or before this moment.
    fn until(self, end: Instant) -> Vec<u8> {
        while !self.reader.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether it ended well; `None`, and it is ended, where its time is over.
fn wait(child: &mut Child) -> std::io::Result<Option<bool>> {
    let end = Instant::now() + TIME;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
