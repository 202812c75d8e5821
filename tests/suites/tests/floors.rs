//! The layers of the design, from cargo's metadata: dependencies lead downwards, and no tool links what it must not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, Package};
use scar_kit::{TOOLS, workspace};
use scar_suites::crates::metadata;

/// Our crates from the bottom layer up; each may use those before it. The tools and [`OTHER_PROGRAMS`] are the top layer.
const FLOORS: [&[&str]; 7] = [
    &["scar-tool"],
    &["scar-record", "scar-tree"],
    &["scar-trust"],
    &["scar-http"],
    &["scar-cluster"],
    &["scar-vertex", "scar-registry"],
    &TOOLS,
];

/// Programs that are not stages of the pipe.
const OTHER_PROGRAMS: [&str; 2] = ["ecr-password", "scar-get"];

/// The crates for HTTP, TLS and Kubernetes.
const NETWORK: [&str; 14] = [
    "reqwest",
    "hyper",
    "hyper-util",
    "http",
    "rustls",
    "rustls-pki-types",
    "aws-lc-rs",
    "tokio",
    "tower",
    "kube",
    "kube-client",
    "k8s-openapi",
    "oci-client",
    "tokio-tungstenite",
];

/// A package's normal and build dependencies on this platform, with itself.
fn tree<'a>(metadata: &'a Metadata, name: &str) -> BTreeSet<&'a str> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"));
    let (mut seen, mut next) = (BTreeSet::new(), vec![&root.id]);
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            let used =
                nodes[id].deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            next.extend(used.map(|dep| &dep.pkg));
        }
    }
    metadata.packages.iter().filter(|package| seen.contains(&package.id)).map(|package| package.name.as_str()).collect()
}

fn ours(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

#[test]
fn crates_use_only_lower_layers_and_no_tool_uses_another() {
    let metadata = metadata();
    let top = |name: &str| OTHER_PROGRAMS.contains(&name).then_some(FLOORS.len() - 1);
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name)).or_else(|| top(name));
    let mut arrows = 0;
    for package in ours(&metadata) {
        let Some(here) = floor(&package.name) else {
            let path = package.manifest_path.strip_prefix(workspace().to_str().unwrap()).unwrap();
            assert!(path.starts_with("tests"), "{} stands on no floor", package.name);
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some() && d.kind != DependencyKind::Development) {
            let below = floor(&dependency.name).unwrap_or_else(|| panic!("{} uses {}", package.name, dependency.name));
            assert!(below < here, "{} uses {}, which is not below it", package.name, dependency.name);
            arrows += 1;
        }
    }
    assert!(arrows >= 2 * TOOLS.len(), "{arrows}");
}

#[test]
fn the_lowest_layer_and_mkmanifests_link_no_network_code() {
    let metadata = metadata();
    for name in ["scar-tool", "scar-record", "scar-tree", "mkmanifests"] {
        let tree = tree(&metadata, name);
        let network: Vec<_> = NETWORK.iter().filter(|crate_| tree.contains(**crate_)).collect();
        assert!(network.is_empty(), "{name} links {network:?}");
    }
    // Other tools do link these crates; otherwise this test could not fail.
    let (push, wait) = (tree(&metadata, "ocipush"), tree(&metadata, "specman-wait"));
    for crate_ in ["reqwest", "rustls", "hyper", "tokio"] {
        assert!(push.contains(crate_), "ocipush links no {crate_}");
    }
    assert!(wait.contains("kube") || wait.contains("kube-client"));
}

#[test]
fn only_ecr_password_links_the_aws_sdk() {
    let metadata = metadata();
    let links =
        |name: &str| tree(&metadata, name).iter().any(|crate_| crate_.starts_with("aws-") && !crate_.starts_with("aws-lc-"));
    let linking: Vec<_> = ours(&metadata).into_iter().map(|package| package.name.as_str()).filter(|name| links(name)).collect();
    assert_eq!(linking, ["ecr-password"]);
}

#[test]
fn the_tools_of_http_link_no_kubernetes() {
    let metadata = metadata();
    for name in ["ocipush", "vertex-login", "pack-registry-set", "scar-set", "scar-get", "ecr-password"] {
        let tree = tree(&metadata, name);
        assert!(!tree.iter().any(|crate_| crate_.starts_with("kube") || *crate_ == "k8s-openapi"), "{name}");
    }
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    for package in ours(&metadata()) {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{}", package.manifest_path);
    }
    let root = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""));
    // Forbidden, so that no crate can allow it again; even the word would be an attempt.
    for entry in walkdir::WalkDir::new(workspace().join("tools")).into_iter().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            assert!(!text.contains("unsafe {") && !text.contains("unsafe fn"), "{}", entry.path().display());
        }
    }
}

#[test]
fn versions_are_one() {
    let script = std::fs::read_to_string(workspace().join("shell/scar-migrate")).unwrap();
    assert!(script.contains(&format!("\nreadonly version={}\n", env!("CARGO_PKG_VERSION"))));
    for package in ours(&metadata()) {
        assert_eq!(package.version.to_string(), env!("CARGO_PKG_VERSION"), "{}", package.name);
    }
}

/// Known cycles among files, by crate folder; the list only gets shorter.
const CYCLES: [(&str, &[&str]); 2] =
    [("tools/scar-secret-rm", &["backup", "removal", "restore"]), ("tools/specman-wait", &["report", "restart", "wait"])];

/// The modules of a crate: their paths, and their code without tests and comments; without the root, which lists the others.
fn modules(source: &Path) -> BTreeMap<Vec<String>, String> {
    let mut modules = BTreeMap::new();
    let files = walkdir::WalkDir::new(source).into_iter().map(|entry| entry.unwrap().into_path());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let relative = file.strip_prefix(source).unwrap().with_extension("");
        let mut path: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        path.pop_if(|last| last == "mod");
        if matches!(path.last().map(String::as_str), Some("lib" | "main" | "tests")) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        modules.insert(path, code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n"));
    }
    modules
}

/// The paths after `crate::` and `super::` in a module, with each path in braces separately.
fn paths(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (word, base) in [("crate::", &[][..]), ("super::", &module[..module.len().saturating_sub(1)])] {
        for (at, _) in code.match_indices(word) {
            let rest = &code[at + word.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            let (path, after) = rest.split_at(end);
            let stem: Vec<String> =
                base.iter().cloned().chain(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned)).collect();
            let items = after.strip_prefix('{').and_then(|list| list.split('}').next()).unwrap_or_default();
            let items = items.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|item| !item.is_empty());
            found.extend(items.map(|item| [&stem[..], &[item.to_owned()]].concat()));
            found.push(stem);
        }
    }
    found
}

/// The groups of modules that form a cycle.
fn cycles(modules: &BTreeMap<Vec<String>, String>) -> BTreeSet<Vec<String>> {
    let uses = |module: &Vec<String>| -> BTreeSet<Vec<String>> {
        let file = |mut path: Vec<String>| {
            while !path.is_empty() && !modules.contains_key(&path) {
                path.pop();
            }
            path
        };
        let used = paths(module, &modules[module]).into_iter().map(file);
        used.filter(|used| !used.is_empty() && used != module).collect()
    };
    let arrows: BTreeMap<_, _> = modules.keys().map(|module| (module.clone(), uses(module))).collect();
    let reach = |from: &Vec<String>| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            next.extend(arrows[&module].iter().filter(|used| seen.insert((*used).clone())).cloned());
        }
        seen
    };
    let reached: BTreeMap<_, _> = modules.keys().map(|module| (module.clone(), reach(module))).collect();
    let circle = |module: &Vec<String>| -> Vec<String> {
        let both = reached[module].iter().filter(|other| reached[*other].contains(module));
        both.map(|path| path.join("::")).collect()
    };
    modules.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn files_of_a_crate_have_no_import_cycle() {
    let mut found = BTreeSet::new();
    let mut files = 0;
    for package in ours(&metadata()) {
        let folder = package.manifest_path.parent().unwrap().strip_prefix(workspace().to_str().unwrap()).unwrap().to_string();
        if folder.starts_with("tools") {
            let modules = modules(&workspace().join(&folder).join("src"));
            files += modules.len();
            found.extend(cycles(&modules).into_iter().map(|circle| (folder.clone(), circle)));
        }
    }
    assert!(files > 150, "only {files} files were read");
    let allowed = |(folder, circle): &(String, Vec<String>)| CYCLES.iter().any(|(at, files)| at == folder && files == circle);
    let new: Vec<_> = found.iter().filter(|cycle| !allowed(cycle)).collect();
    assert!(new.is_empty(), "shared types live below their users: {new:?}");
    let gone: Vec<_> =
        CYCLES.iter().filter(|(at, files)| !found.iter().any(|(folder, circle)| folder == at && circle == files)).collect();
    assert!(gone.is_empty(), "these are gone, take them off the list: {gone:?}");
}

#[test]
fn a_cycle_is_detected() {
    let module = |name: &str, code: &str| (vec![name.to_owned()], code.to_owned());
    let circle = BTreeMap::from([
        module("a", "use crate::{b, c};"),
        module("b", "use super::c::X;"),
        module("c", "fn f() { crate::a::g() }"),
    ]);
    assert_eq!(cycles(&circle), BTreeSet::from([vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]]));
    let line = BTreeMap::from([module("a", "use crate::{b, c};"), module("b", "use super::c::X;"), module("c", "fn f() {}")]);
    assert!(cycles(&line).is_empty());
}
