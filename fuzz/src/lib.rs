//! One function per parser of foreign bytes; each target in `fuzz_targets` calls one, and the example `growth` all.
//!
//! A parser must not panic, hang, or need more than linear time; what it finds does not matter here.

// The binaries' own files are taken in by path, and used in part.
#[allow(dead_code, unused_imports)]
#[path = "../../tools/specman-verify/src/archive.rs"]
mod archive;
#[allow(dead_code)]
#[path = "../../tools/specman-wait/src/message.rs"]
mod message;
#[allow(dead_code)]
#[path = "../../tools/specman-verify/src/tree.rs"]
mod tree;

use std::cell::RefCell;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use scar_registry::Reference;
use scar_registry::login::LoginFiles;
use scar_tool::Console;

/// A parser, by its target's name.
pub type Parser = (&'static str, fn(&[u8]));

/// All of them.
pub const PARSERS: &[Parser] = &[
    ("archive", archive),
    ("certificates", certificates),
    ("challenge", challenge),
    ("docker_config", docker_config),
    ("duration", duration),
    ("error_words", error_words),
    ("kubeconfig", kubeconfig),
    ("kubernetes_status", kubernetes_status),
    ("log_line", log_line),
    ("manifest", manifest),
    ("plugin_output", plugin_output),
    ("record", record),
    ("reference", reference),
    ("registry_error", registry_error),
    ("scrub", scrub),
    ("token", token),
    ("vertex_object", vertex_object),
];

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// The archive, as specman-verify reads it back: the names, and what links lead to. Also as what gzip holds: few random bytes
/// get through its checksum.
pub fn archive(data: &[u8]) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(data).and_then(|()| packed.finish()).expect("a vector takes all bytes");
    for bytes in [data, &packed] {
        let progress = Console::new("fuzz").progress_bytes("reading", None);
        if let Ok((Ok(tree), _)) = archive::read(bytes, "a", progress) {
            _ = tree.expected();
        }
    }
}

/// PEM files: certificates and keys.
pub fn certificates(data: &[u8]) {
    scar_trust::fuzzing::pem(data);
}

/// `WWW-Authenticate`.
pub fn challenge(data: &[u8]) {
    scar_registry::fuzzing::challenge(&text(data));
}

/// Docker's and Podman's login files. A helper that it names runs only if it is installed as `docker-credential-NAME`.
pub fn docker_config(data: &[u8]) {
    let files = LoginFiles { docker_auth_config: Some(text(data)), ..LoginFiles::default() };
    if let Ok(reference) = Reference::parse("h.example:5000/a/b:1", None) {
        _ = files.find(&reference, &Console::new("fuzz"));
    }
}

/// Durations, as options take them.
pub fn duration(data: &[u8]) {
    _ = scar_tool::duration(&text(data));
}

/// The body of any server's error.
pub fn error_words(data: &[u8]) {
    let words = scar_http::words(data);
    // As every message is escaped before it is printed.
    let shown = scar_tool::escape(&words);
    assert!(shown.chars().all(|c| !c.is_control()), "a control character reaches the terminal: {shown:?}");
    _ = (scar_tool::bounded(data), scar_tool::shell_word(&text(data)));
}

/// A kubeconfig.
pub fn kubeconfig(data: &[u8]) {
    thread_local! {
        static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) };
    }
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in /dev/shm"));
        std::fs::write(file.path(), data).expect("write to /dev/shm");
        scar_cluster::fuzzing::kubeconfig(file.path());
    });
}

/// A `Status` of the API server, or what stands in its place.
pub fn kubernetes_status(data: &[u8]) {
    scar_cluster::fuzzing::status(data);
}

/// A line of Specman's log, in each of its forms.
pub fn log_line(data: &[u8]) {
    let text = text(data);
    for line in text.lines() {
        _ = message::Wording::new(&message::Marker::default(), "0.0.0").says(&message::read(line));
    }
}

/// A manifest that a tag holds.
pub fn manifest(data: &[u8]) {
    _ = serde_json::from_slice::<oci_client::manifest::OciImageManifest>(data);
}

/// The output of an exec plugin.
pub fn plugin_output(data: &[u8]) {
    scar_cluster::fuzzing::credential(data);
}

/// A record on standard input.
pub fn record(data: &[u8]) {
    _ = scar_record::Record::parse(data);
}

/// A reference, as the operand of ocipush.
pub fn reference(data: &[u8]) {
    if let Ok(reference) = Reference::parse(&text(data), None) {
        let again = Reference::parse(&reference.to_string(), None);
        assert_eq!(again.as_ref().ok(), Some(&reference), "a reference does not read back as it is written");
    }
}

/// A registry's refusal.
pub fn registry_error(data: &[u8]) {
    scar_registry::fuzzing::refusal(data);
}

/// A peer's text with a secret somewhere in it, which must not be seen.
pub fn scrub(data: &[u8]) {
    const SECRET: &str = "Xy7+q/Zk9==w";
    scar_tool::never_show(SECRET);
    let text = text(data);
    let (before, after) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let shown = scar_tool::fuzzing::scrubbed(&format!("{before}{SECRET}{after}"));
    scar_tool::fuzzing::forget();
    assert!(!shown.contains(SECRET), "the secret is seen: {shown}");
}

/// A VerteX token.
pub fn token(data: &[u8]) {
    let text = text(data);
    _ = (scar_vertex::token::check(&text), scar_vertex::token::expiry(scar_vertex::token::bare(&text)));
}

/// An object of VerteX's API: the SCAR setting, an entry, a list.
pub fn vertex_object(data: &[u8]) {
    let text = text(data);
    if let Ok(setting) = scar_vertex::scar::Setting::parse(&text) {
        _ = format!("{setting:?}");
    }
    if let Ok(object) = scar_vertex::Object::parse(&text) {
        for path in [&["spec", "endpoint"][..], &["metadata", "uid"], &["items"]] {
            _ = (object.text_or_empty(path), object.objects(path), object.flag(path));
        }
    }
    scar_tool::fuzzing::forget();
}
