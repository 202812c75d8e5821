//! Serves the files of the current tag over HTTP. A link counts as its target; one out of the folder does not exist.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use tokio_util::io::ReaderStream;

/// The folder that is currently served.
pub(super) type Root = Arc<RwLock<Option<PathBuf>>>;

pub(super) fn router(root: Root) -> Router {
    Router::new().route("/", get(file)).route("/{*path}", get(file)).with_state(root)
}

async fn file(State(root): State<Root>, request: Request) -> Response {
    let root = root.read().expect("nobody panics with the lock").clone();
    let Some(path) = root.and_then(|root| find(&root, request.uri().path())) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    let Ok(file) = tokio::fs::File::open(&path).await else {
        return (StatusCode::FORBIDDEN, "403 forbidden\n").into_response();
    };
    let length = file.metadata().await.map_or(0, |found| found.len());
    let body = match *request.method() {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024)),
    };
    let headers = [("content-type", "application/octet-stream".to_owned()), ("content-length", length.to_string())];
    (headers, body).into_response()
}

/// The regular file below `root` that a URL's path names.
fn find(root: &Path, path: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let name: Vec<u8> = percent_decode_str(path.trim_start_matches('/')).collect();
    let root = root.canonicalize().ok()?;
    let path = root.join(std::ffi::OsStr::from_bytes(&name)).canonicalize().ok()?;
    (path.starts_with(&root) && path.is_file()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_finds_files_and_links_inside_and_nothing_else() {
        let outer = tempfile::TempDir::new().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/b c"), "").unwrap();
        fs::write(outer.path().join("secret"), "").unwrap();
        symlink("a/b c", root.join("in")).unwrap();
        symlink("a", root.join("folder")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, found) in [
            ("/a/b%20c", true),
            ("/in", true),
            ("/folder/b%20c", true),
            ("/a", false),
            ("/", false),
            ("/out", false),
            ("/loop", false),
            ("/../secret", false),
            ("/%2e%2e/secret", false),
            ("/missing", false),
        ] {
            assert_eq!(find(&root, path).is_some(), found, "{path}");
        }
    }
}
