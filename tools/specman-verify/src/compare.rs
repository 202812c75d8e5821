//! Compares one file that one replica serves with the expected one.

use futures::StreamExt;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use scar_cluster::Error;
use scar_http::{Cause, Error as Http, Url};
use scar_tool::{Exit, Failure, Progress};
use sha2::{Digest as _, Sha256};

use crate::replica::{Answer, Connection, SILENCE};
use crate::tree::Expected;

/// Characters that need no escape in a path: RFC 3986's unreserved ones and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The most redirects to follow, within the replica.
const HOPS: usize = 3;
/// How many server errors (5xx) a file may get before it counts as unreadable.
const PROBLEMS: u32 = 3;
/// How many bytes of a refusal's body are read.
const WORDS: usize = 4096;

/// What one replica serves for one file; the worse, the greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It serves the expected content.
    Same,
    /// It could not be compared; the text says why.
    Unreadable(String),
    /// It does not serve it.
    Missing,
    /// It serves something else, which the text describes.
    Different(String),
}

/// State that the tries of one file share.
pub(crate) struct Tries<'p> {
    /// Number of server errors so far.
    problems: u32,
    /// Bytes already counted in the progress.
    counted: u64,
    pub(crate) progress: &'p Progress,
}

impl<'p> Tries<'p> {
    /// No try yet.
    pub(crate) fn new(progress: &'p Progress) -> Self {
        Self { problems: 0, counted: 0, progress }
    }

    /// Advances the progress to `read` bytes of the file, never back.
    fn count(&mut self, read: u64) {
        let news = read.saturating_sub(self.counted);
        self.counted += news;
        self.progress.add(news);
    }
}

/// The URL of a name below `base`, which ends with a slash.
fn url(base: &Url, name: &[u8]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path(), percent_encode(name, PATH)));
    url
}

/// Tries once.
///
/// # Errors
/// Why the try brought no verdict.
pub(crate) async fn compare(
    connection: &mut Connection<'_>,
    base: &Url,
    expected: &Expected,
    tries: &mut Tries<'_>,
) -> Result<Verdict, Error> {
    let mut url = url(base, &expected.name);
    let mut hops = 0;
    let mut answer = get(connection, &url).await?;
    // Go's file server redirects .../index.html to its folder (net/http fs.go, serveFile).
    while let Some(next) = answer.location(&url).filter(|next| next.origin() == url.origin() && hops < HOPS) {
        connection.finish(answer).await;
        url = next;
        hops += 1;
        answer = get(connection, &url).await?;
    }
    let verdict = match answer.status == StatusCode::OK && answer.coding().is_none() {
        true => content(connection, answer, &url, expected, tries).await?,
        false => {
            let verdict = no_content(&mut answer, &connection.replica.name, &url, tries).await?;
            connection.finish(answer).await;
            verdict
        }
    };
    tries.count(expected.file.size);
    Ok(verdict)
}

/// Requests a file; an answer that is not HTTP may be one of TLS.
async fn get(connection: &mut Connection<'_>, url: &Url) -> Result<Answer, Error> {
    match connection.get(url).await {
        Err(Error::Http(error)) if matches!(error.cause, Cause::NotHttp) && url.scheme() == "http" => {
            Err(wants_tls(&connection.replica.name, &error))
        }
        result => result,
    }
}

/// The failure for plain HTTP at a port for TLS, as of a registry's.
fn wants_tls(replica: &str, error: &Http) -> Error {
    let failure = Failure { exit: Exit::Misuse, ..error.failure(&format!("ask '{replica}'")) };
    failure.hint("if the server speaks TLS, leave out --plain-http").into()
}

/// An answer that is not the file as it is.
async fn no_content(answer: &mut Answer, replica: &str, url: &Url, tries: &mut Tries<'_>) -> Result<Verdict, Error> {
    let (status, retry_after) = (answer.status, answer.retry_after());
    if let Some(coding) = answer.coding().filter(|_| status == StatusCode::OK) {
        // None was requested. Bytes that a proxy has compressed cannot be compared.
        return Ok(Verdict::Unreadable(format!("it comes in the coding '{}'", scar_tool::bounded(coding.as_bytes()))));
    }
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(Verdict::Missing);
    }
    let mut body = Vec::new();
    while body.len() < WORDS
        && let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, answer.body.next()).await
    {
        body.extend_from_slice(&piece[..piece.len().min(WORDS - body.len())]);
    }
    let words = scar_http::words(&body);
    let said = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    let cause = Cause::Status { status, words, retry_after, location: None };
    let error = Http { request: format!("GET {url}"), cause };
    // So nginx and Go answer plain HTTP on a port for TLS (nginx src/http/ngx_http_request.c, `NGX_HTTP_TO_HTTPS`; Go
    // src/net/http/server.go, `conn.serve`). Every file would be unreadable, however long this waited.
    if status == StatusCode::BAD_REQUEST && url.scheme() == "http" {
        return Err(wants_tls(replica, &error));
    }
    tries.problems += u32::from(error.is_transient());
    match error.is_transient() && tries.problems < PROBLEMS {
        true => Err(error.into()),
        false => Ok(Verdict::Unreadable(said)),
    }
}

/// Reads as much of the body as the file should have.
async fn content(
    connection: &mut Connection<'_>,
    mut answer: Answer,
    url: &Url,
    expected: &Expected,
    tries: &mut Tries<'_>,
) -> Result<Verdict, Error> {
    let size = expected.file.size;
    if let Some(length) = answer.length().filter(|length| *length != size) {
        connection.finish(answer).await;
        return Ok(Verdict::Different(format!("{length} bytes, not {size}")));
    }
    // A folder's file is read here while it comes from there.
    let file = expected.file.clone();
    let local = tokio::task::spawn_blocking(move || file.content.sum());
    let mut hash = Sha256::new();
    let mut read = 0;
    loop {
        let piece = tokio::time::timeout(SILENCE, answer.body.next()).await;
        let stalled = |_| Http::silent(format!("GET {url}"), &format!("the answer stalled after {read} bytes"));
        let Some(piece) = piece.map_err(stalled)?.transpose()? else { break };
        hash.update(&piece);
        read += piece.len() as u64;
        if read > size {
            connection.hang_up();
            return Ok(Verdict::Different(format!("more than its {size} bytes")));
        }
        tries.count(read);
    }
    if read < size {
        return Ok(Verdict::Different(format!("{read} bytes, not {size}")));
    }
    let remote: [u8; 32] = hash.finalize().into();
    let local = local.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    Ok(match local {
        Ok(local) if local == remote => Verdict::Same,
        Ok(_) => Verdict::Different(format!("other bytes in its {size}")),
        Err(error) => Verdict::Unreadable(format!("here: {}", Failure::io("read", &error).message)),
    })
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
            assert_eq!(url(&base, name).path(), path);
        }
    }
}
