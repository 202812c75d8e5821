//! Compares one file that one replica serves with the expected one.

use futures::StreamExt;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use scar_http::Url;
use scar_tool::{Failure, Progress};
use sha2::{Digest as _, Sha256};

use crate::archive;
use crate::outcome::{TryError, Verdict};
use crate::route::{Answer, Connection, SILENCE};
use crate::tree::{Content, Expected};

/// Characters that need no escape in a path: RFC 3986's unreserved ones and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The most redirects to follow, within the replica.
const HOPS: usize = 3;
/// How many server errors (5xx) a file may get before it counts as unreadable.
const PROBLEMS: u32 = 3;
/// How many bytes of a refusal's body are read.
const WORDS: usize = 4096;

/// State that the tries of one file share.
#[derive(Default)]
pub(crate) struct Tries {
    /// Number of server errors so far.
    problems: u32,
    /// Bytes already counted in the progress.
    counted: u64,
}

/// The URL of a name below `base`, which ends with a slash.
///
/// # Errors
/// Exit 2 if the result is not a URL.
pub(crate) fn url(base: &Url, name: &[u8]) -> Result<Url, Failure> {
    let name = percent_encode(name, PATH).to_string();
    let text = format!("{base}{name}");
    Url::parse(&text).map_err(|error| Failure::misuse(format!("make the URL '{text}': {error}")))
}

/// Tries once.
///
/// # Errors
/// Why the try brought no verdict.
pub(crate) async fn compare(
    connection: &mut Connection<'_>,
    base: &Url,
    expected: &Expected,
    tries: &mut Tries,
    progress: &Progress,
) -> Result<Verdict, TryError> {
    let mut url = url(base, &expected.name)?;
    let mut hops = 0;
    let mut answer = connection.get(&url).await?;
    // Go's file server redirects .../index.html to its folder (net/http fs.go, serveFile).
    while let Some(next) = answer.location(&url).filter(|next| next.origin() == url.origin() && hops < HOPS) {
        connection.finish(answer).await;
        url = next;
        hops += 1;
        answer = connection.get(&url).await?;
    }
    let status = answer.status;
    let verdict = match status {
        StatusCode::OK => match answer.coding() {
            // None was requested. Bytes that a proxy has compressed cannot be compared.
            Some(coding) => Verdict::Unreadable(format!("it comes in the coding '{}'", scar_tool::bounded(coding.as_bytes()))),
            None => return body(connection, answer, expected, tries, progress).await,
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Verdict::Missing,
        _ => {
            let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            tries.problems += u32::from(is_passing);
            let asked = answer.asked();
            let words = words(status, &mut answer).await;
            if is_passing && tries.problems < PROBLEMS {
                connection.finish(answer).await;
                return Err(TryError::Passing { words: format!("GET {url}: {words}"), asked, kubelet: None });
            }
            Verdict::Unreadable(words)
        }
    };
    connection.finish(answer).await;
    count(tries, expected.file.size, progress);
    Ok(verdict)
}

/// Reads as much of the body as the file should have.
async fn body(
    connection: &mut Connection<'_>,
    mut answer: Answer,
    expected: &Expected,
    tries: &mut Tries,
    progress: &Progress,
) -> Result<Verdict, TryError> {
    let size = expected.file.size;
    if let Some(length) = answer.length().filter(|length| *length != size) {
        connection.finish(answer).await;
        count(tries, size, progress);
        return Ok(Verdict::Different(format!("{length} bytes, not {size}")));
    }
    let local = match &expected.file.content {
        Content::Sum(sum) => Local::Known(*sum),
        Content::Path(path) => {
            let path = path.clone();
            Local::Read(tokio::task::spawn_blocking(move || archive::sum(&mut std::fs::File::open(path)?)))
        }
    };
    let mut hash = Sha256::new();
    let mut read = 0;
    loop {
        let piece = tokio::time::timeout(SILENCE, answer.body.next()).await;
        let silent = |_| TryError::passing(format!("the answer stalled after {read} bytes"));
        let Some(piece) = piece.map_err(silent)?.transpose()? else { break };
        hash.update(&piece);
        read += piece.len() as u64;
        if read > size {
            connection.hang_up();
            break;
        }
        count(tries, read, progress);
    }
    count(tries, size, progress);
    if read > size {
        return Ok(Verdict::Different(format!("more than its {size} bytes")));
    }
    if read < size {
        return Ok(Verdict::Different(format!("{read} bytes, not {size}")));
    }
    let remote: [u8; 32] = hash.finalize().into();
    Ok(match local.sum().await {
        Ok(local) if local == remote => Verdict::Same,
        Ok(_) => Verdict::Different(format!("other bytes in its {size}")),
        Err(error) => Verdict::Unreadable(format!("here: {}", Failure::io("read", &error).message)),
    })
}

/// The SHA-256 of the local file.
enum Local {
    Known([u8; 32]),
    Read(tokio::task::JoinHandle<std::io::Result<(u64, [u8; 32])>>),
}

impl Local {
    async fn sum(self) -> std::io::Result<[u8; 32]> {
        match self {
            Self::Known(sum) => Ok(sum),
            Self::Read(task) => task.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map(|(_, sum)| sum),
        }
    }
}

/// Advances the progress to `read` bytes of the file, never back.
fn count(tries: &mut Tries, read: u64, progress: &Progress) {
    let news = read.saturating_sub(tries.counted);
    tries.counted += news;
    progress.add(news);
}

/// A status and the server's own message.
async fn words(status: StatusCode, answer: &mut Answer) -> String {
    let mut text = Vec::new();
    while text.len() < WORDS
        && let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, answer.body.next()).await
    {
        text.extend_from_slice(&piece[..piece.len().min(WORDS - text.len())]);
    }
    let said = scar_http::words(&text);
    if said.is_empty() { status.to_string() } else { format!("{status}: {said}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_makes_a_path() {
        let base = Url::parse("https://specman.example:8443/m/").unwrap();
        for (name, path) in [
            (&b"a/b.yaml"[..], "/m/a/b.yaml"),
            (b"a b?c#d%e", "/m/a%20b%3Fc%23d%25e"),
            (b"\xff\n", "/m/%FF%0A"),
            ("grüße".as_bytes(), "/m/gr%C3%BC%C3%9Fe"),
            (b"...", "/m/..."),
        ] {
            assert_eq!(url(&base, name).unwrap().path(), path);
        }
    }
}
