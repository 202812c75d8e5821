//! The whole record is checked before it is used: a generator changes one or two fields of the record of a real migration,
//! and no record that no run could have written is accepted.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// The environment can set another seed or more cases.
#![allow(clippy::disallowed_methods)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scar_kit::complaints;
use scar_record::{Archive, Artifact, FORMAT, Record, Secret, Session, Specman, Verified};
use scar_suites::{Migration, new_record, written};
use scar_tool::Exit;
use serde_json::{Value, json};

fn parse(record: &Value) -> Result<Record, scar_tool::Failure> {
    Record::parse(record.to_string().as_bytes())
}

/// The record of a whole migration, with its session.
fn migrated(content: &str) -> Value {
    let migration = Migration::new();
    std::fs::write(migration.tree().join("content"), content).unwrap();
    let begin = migration.tool("scar-preflight").record(&new_record()).run().succeeds().json();
    whole_record(&migration, &begin)
}

fn whole_record(migration: &Migration, begin: &Value) -> Value {
    let record = migration.steps_before("scar-set", begin);
    written(&migration.tool("scar-set").arg("--keep-session").record(&record).run())
}

/// Whether every number is written as an integer; for the schema 1.0 is one.
fn integers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_u64(),
        Value::Array(items) => items.iter().all(integers),
        Value::Object(fields) => fields.values().all(integers),
        _ => true,
    }
}

/// What the schema cannot express: which fields must agree. Written independently of the tools.
fn agrees(record: &Value) -> bool {
    let at = |path: &str| record.pointer(path).unwrap_or(&Value::Null);
    let text = |path: &str| at(path).as_str().unwrap_or_default();
    let is = |path: &str| at(path) == true;
    let there = |path: &str| !at(path).is_null();
    let same = |a: &str, b: &str| !there(a) || !there(b) || at(a) == at(b);
    let most = |path: &str| at(path).as_u64() <= at("/verified/compared").as_u64();
    let parts = [text("/artifact/registry"), "/", text("/artifact/repository"), ":", text("/artifact/tag")].concat();
    (!there("/artifact") || text("/artifact/reference") == parts)
        && same("/archive/digest", "/artifact/layer")
        && same("/archive/size", "/artifact/size")
        && same("/verified/layer", "/artifact/layer")
        && same("/verified/layer", "/archive/digest")
        && same("/specman/tag", "/artifact/tag")
        && (!is("/secret/deleted") || is("/secret/found"))
        && (!there("/secret/uid") || is("/secret/found"))
        && (!there("/artifact/pushed_at") || is("/artifact/uploaded"))
        && (!there("/artifact/replaced") || there("/artifact/pushed_at") && !same("/artifact/replaced", "/artifact/digest"))
        && (!there("/verified") || ["missing", "different", "unreadable"].iter().all(|n| most(&format!("/verified/{n}"))))
}

/// Random numbers from a seed (xorshift64*), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    fn of<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}

/// Sections, and their fields at any depth, as JSON pointers.
fn fields(value: &Value, path: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (name, value) in below {
        let path = format!("{path}/{name}");
        fields(value, &path, found);
        found.push(path);
    }
}

/// Another value: of the same type, of another type, a similar one, or one of another field.
fn another(dice: &mut Dice, value: &Value, elsewhere: &Value) -> Value {
    let digest = format!("sha256:{}", "5".repeat(64));
    match dice.below(4) {
        0 => {
            dice.of(&[json!(null), json!(true), json!(7), json!("text"), json!([]), json!({}), json!([true]), json!(1.0)]).clone()
        }
        1 => elsewhere.clone(),
        _ => match value {
            Value::Bool(value) => json!(!value),
            Value::Number(value) => {
                dice.of(&[json!(value.as_u64().map_or(7, |number| number + 1)), json!(-1), json!(1e3), json!("1")]).clone()
            }
            Value::String(text) => dice
                .of(&[
                    json!(""),
                    json!(format!("{text}x")),
                    json!(digest),
                    json!("2025-01-02T03:04:05Z"),
                    json!("2025-01-02T03:04:05+00:00"),
                    json!("https://other.example"),
                    json!(text.to_uppercase()),
                ])
                .clone(),
            other => json!([other]),
        },
    }
}

fn change(dice: &mut Dice, record: &mut Value, other_run: &Value) -> String {
    let mut all = Vec::new();
    fields(record, "", &mut all);
    all.retain(|path| path != "/record");
    let path = dice.of::<String>(&all).clone();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let elsewhere = record.pointer(dice.of::<String>(&all)).unwrap().clone();
    let what = match (dice.below(4), record.pointer_mut(parent).unwrap()) {
        (0, Value::Object(fields)) => fields.remove(name).map(|_| "gone"),
        (1, Value::Object(fields)) if parent.is_empty() => {
            // A section of another run has other digests, times and uids, but is valid in itself.
            fields.insert(name.to_owned(), other_run[name].clone()).map(|_| "of another run")
        }
        (_, parent) => {
            let value = match parent {
                Value::Object(fields) => fields.get_mut(name),
                other => other.get_mut(name.parse::<usize>().unwrap()),
            };
            let value = value.unwrap();
            *value = another(dice, value, &elsewhere);
            Some("changed")
        }
    };
    format!("{path} {}", what.unwrap_or("left"))
}

#[test]
fn q9_a_record_that_no_run_could_have_written_is_refused() {
    let (record, other_run) = (migrated("one"), migrated("two"));
    assert!(parse(&record).is_ok() && agrees(&record), "{:?}", parse(&record).err());
    let seed = std::env::var("SCAR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5CA2_5EED);
    let (mut dice, mut passed, mut refused) = (Dice(seed), 0, 0);
    for round in 0..10_000 {
        let mut changed = record.clone();
        let changes: Vec<_> = (0..=dice.below(2)).map(|_| change(&mut dice, &mut changed, &other_run)).collect();
        let honest = || integers(&changed) && agrees(&changed) && complaints(&changed).is_empty();
        match parse(&changed) {
            Ok(_) => {
                assert!(honest(), "seed {seed}, round {round}: {changes:?} passes: {:?}\n{changed}", complaints(&changed));
                passed += 1;
            }
            Err(failure) => {
                assert_eq!(failure.exit, Exit::Misuse);
                assert!(!honest(), "seed {seed}, round {round}: {changes:?} is refused: {}\n{changed}", failure.message);
                refused += 1;
            }
        }
    }
    assert!(passed > 500 && refused > 4000, "{passed} passed, {refused} refused");
}

/// A listener that the operator has not named: only the record can lead there.
struct Nobody {
    authority: String,
    met: Arc<AtomicUsize>,
}

impl Nobody {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (authority, met) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
        let counter = met.clone();
        std::thread::spawn(move || listener.incoming().for_each(|_| _ = counter.fetch_add(1, Ordering::SeqCst)));
        Self { authority, met }
    }

    /// Puts it into the record, as a run on that host would have.
    fn enters(&self, dice: &mut Dice, record: &mut Value) -> String {
        let (authority, origin) = (&self.authority, format!("https://{}", self.authority));
        let repository = record.pointer("/artifact/repository").and_then(Value::as_str).unwrap_or_default();
        let reference = json!(format!("{authority}/{repository}:0.0.0"));
        let changes = match dice.below(4) {
            0 => vec![("/artifact/registry", json!(authority)), ("/artifact/reference", reference)],
            1 => vec![("/session/endpoint", json!(origin))],
            2 => vec![
                ("/session/endpoint", json!(origin)),
                ("/pack_registry/vertex", json!(origin)),
                ("/scar/vertex", json!(origin)),
            ],
            _ => vec![("/pack_registry/endpoint", json!(origin)), ("/scar/endpoint", json!(origin))],
        };
        for (path, value) in &changes {
            record.pointer_mut(path).into_iter().for_each(|field| *field = value.clone());
        }
        format!("{:?}", changes.iter().map(|(path, _)| path).collect::<Vec<_>>())
    }
}

/// What the record must show for `scar-set`.
fn shows_the_migration(record: &Value) -> bool {
    let at = |path: &str| record.pointer(path).unwrap_or(&Value::Null);
    at("/verified/layer") == at("/artifact/layer")
        && ["missing", "different", "unreadable"].iter().all(|name| at(&format!("/verified/{name}")) == 0)
        && at("/pack_registry/vertex") == at("/session/endpoint")
        && at("/pack_registry/contains_spectro_manifest") == true
        && at("/specman").is_object()
        && !at("/artifact/layer").is_null()
}

/// Runs the programs with a host's options: they only succeed with an honest record, and only contact hosts that the
/// operator named.
#[test]
fn a_generated_record_leads_no_tool_to_a_host_that_nobody_named() {
    let migration = Migration::new();
    let record = whole_record(&migration, &new_record());
    // Then Specman is compared with the layer in the registry.
    std::fs::remove_file(migration.archive()).unwrap();
    let (nobody, other_run) = (Nobody::listen(), migrated("two"));
    let setting = |name| migration.setting(name);
    let (registry, console) = (setting("OCI_PACK_REGISTRY"), setting("VERTEX_ENDPOINT"));
    let login = [setting("OCI_USERNAME"), setting("OCI_PASSWORD_FILE"), setting("OCI_CA_FILE")];
    let run = |name: &str, record: &Value| {
        let run = migration.tool(name).record(record);
        match name {
            "ocipush" => run.arg("--adopt"),
            "specman-verify" => {
                let run = run.args(["--registry", &registry, "-u", &login[0], "--password-file", &login[1]]);
                run.args(["--registry-ca-file", &login[2], "--timeout", "20s"])
            }
            "scar-set" => run.args(["--endpoint", &console, "--settle", "1s"]),
            "pack-registry-set" | "scar-get" => run.args(["--endpoint", &console]),
            _ => run,
        }
        .run()
    };
    let (mut dice, mut done) = (Dice(0x0BAD_5EED), 0);
    for round in 0..100 {
        let mut changed = record.clone();
        let mut changes = vec![nobody.enters(&mut dice, &mut changed)];
        if dice.below(2) == 0 {
            changes.push(change(&mut dice, &mut changed, &other_run));
        }
        let name = *dice.of(&["ocipush", "pack-registry-set", "specman-verify", "scar-set", "scar-get"]);
        let outcome = run(name, &changed);
        let honest = integers(&changed) && agrees(&changed) && complaints(&changed).is_empty();
        let honest = honest && (name != "scar-set" || shows_the_migration(&changed));
        assert!(outcome.status() != 0 || honest, "round {round}: {name}, {changes:?}\n{changed}\n{outcome}");
        assert_eq!(nobody.met.load(Ordering::SeqCst), 0, "round {round}: {name}, {changes:?}\n{changed}\n{outcome}");
        done += usize::from(outcome.status() == 0);
    }
    assert!(done > 5, "{done} of them succeed");
    for name in ["ocipush", "pack-registry-set", "specman-verify", "scar-set", "scar-get"] {
        run(name, &record).succeeds();
    }
}

/// The record of the whole migration, with each `(field, value)` replaced.
fn whole(changes: &[(&str, &str)]) -> Result<Record, scar_tool::Failure> {
    let digest = |c: &str| format!("sha256:{}", c.repeat(64));
    let mut record = json!({
        "record": FORMAT,
        "secret": {"namespace": "n", "name": "s", "found": true, "deleted": true, "uid": "u", "backup": "/b"},
        "archive": {"path": "/m.tgz", "title": "manifests.tgz", "digest": digest("a"), "size": 1, "files": 1,
            "directories": 1, "links": 0, "bytes": 2, "source": "/s"},
        "artifact": {"reference": "h.example:5000/a/b:0.0.0", "registry": "h.example:5000", "repository": "a/b",
            "tag": "0.0.0", "digest": digest("b"), "layer": digest("a"), "size": 1, "created": "2024-12-06T12:43:14Z",
            "pushed_at": "2024-12-06T12:43:14Z", "uploaded": true, "replaced": digest("c")},
        "session": {"endpoint": "https://v.example", "authorization": "t", "insecure": false},
        "specman": {"namespace": "n", "tag": "0.0.0", "persisted_at": "2024-12-06T12:43:14Z", "pods": ["specman-0"]},
        "verified": {"layer": digest("a"), "compared": 1, "missing": 0, "different": 0, "unreadable": 0, "bytes": 2,
            "source": "/s"},
    });
    for (path, value) in changes {
        *record.pointer_mut(path).unwrap() = serde_json::from_str(value).unwrap();
    }
    parse(&record)
}

#[test]
fn q9_a_contradiction_names_both_fields() {
    assert!(whole(&[]).is_ok());
    let other = &format!("\"sha256:{}\"", "d".repeat(64));
    for (path, value, names) in [
        ("/secret/found", "false", "'secret.deleted' and 'secret.found'"),
        ("/artifact/reference", "\"x.example/a/b:0.0.0\"", "'artifact.reference' and 'artifact.registry'"),
        ("/artifact/registry", "\"h.example:5000/a\"", "'artifact.reference' and 'artifact.registry'"),
        ("/artifact/repository", "\"a\"", "'artifact.reference' and 'artifact.repository'"),
        ("/artifact/tag", "\"0.0\"", "'artifact.reference' and 'artifact.tag'"),
        ("/artifact/uploaded", "false", "'artifact.pushed_at' and 'artifact.uploaded'"),
        ("/artifact/layer", other, "'archive.digest' and 'artifact.layer'"),
        ("/archive/size", "2", "'archive.size' and 'artifact.size'"),
        ("/specman/tag", "\"4.5.15\"", "'specman.tag' and 'artifact.tag'"),
        ("/verified/layer", other, "'verified.layer' and 'artifact.layer'"),
        ("/verified/missing", "2", "'verified.missing' and 'verified.compared'"),
    ] {
        let failure = whole(&[(path, value)]).unwrap_err();
        assert!(failure.message.contains(names) && failure.exit == Exit::Misuse, "{path}: {}", failure.message);
    }
}

#[test]
fn q2_every_field_has_its_exact_type() {
    for (path, value) in [
        ("/archive/size", "1.0"),
        ("/archive/size", "-1"),
        ("/archive/path", "\"m.tgz\""),
        ("/artifact/created", "\"2024-12-06T12:43:14.5Z\""),
        ("/artifact/created", "\"2024-12-06T13:43:14+01:00\""),
        ("/artifact/pushed_at", "null"),
        ("/session/insecure", "\"false\""),
        ("/specman/pods", "[]"),
        ("/secret", "[\"n\",\"s\",true,true]"),
        ("/secret", "null"),
    ] {
        assert_eq!(whole(&[(path, value)]).unwrap_err().exit, Exit::Misuse, "{path} {value}");
    }
    for value in ["false", "\"true\"", "1", "\"yes\"", "[true]", "null", "{}"] {
        let failure = Record::parse(format!(r#"{{"record":"scar-tools/1","dry_run":{value}}}"#).as_bytes()).unwrap_err();
        assert!(failure.message.contains("'dry_run'"), "{}", failure.message);
    }
    let failure = Record::parse(br#"{"record":"scar-tools/1","session":null}"#).unwrap_err();
    assert_eq!(failure.message, "read the record: section 'session': invalid type: null, expected an object");
    for twice in [r#""secret":{},"secret":{}"#, r#""specman":{"namespace":"n","namespace":"m"}"#] {
        let failure = Record::parse(format!(r#"{{"record":"scar-tools/1",{twice}}}"#).as_bytes()).unwrap_err();
        assert!(failure.message.contains("twice") || failure.message.contains("duplicate"), "{}", failure.message);
    }
}

#[test]
fn a_section_that_is_replaced_takes_the_later_ones_with_it() {
    let mut record = whole(&[]).unwrap();
    let archive = record.need::<Archive>().unwrap();
    record.set(&archive);
    assert!(record.need::<Secret>().is_ok() && record.need::<Session>().is_ok());
    assert!(record.section::<Artifact>().unwrap().is_none());
    assert!(record.section::<Specman>().unwrap().is_none() && record.section::<Verified>().unwrap().is_none());
}

/// Twice the fields take about twice the time: a record of 16 MiB is read within seconds.
#[test]
fn reading_is_linear_in_the_size_of_the_record() {
    let fields = (0..200_000).map(|number| format!(",\"field-{number}\":{number}")).collect::<String>();
    let begun = std::time::Instant::now();
    Record::parse(format!("{{\"record\":\"{FORMAT}\"{fields}}}").as_bytes()).unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
