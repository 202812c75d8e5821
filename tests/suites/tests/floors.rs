//! The floors of the design, read from cargo's own metadata: arrows lead downwards, and no tool links what it must not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package};
use scar_kit::{TOOLS, workspace};
use scar_suites::crates::metadata;

/// Our crates from the ground up; each may use what stands before its floor. The tools and [`BESIDE`] are the top floor.
const FLOORS: [&[&str]; 7] = [
    &["scar-tool"],
    &["scar-record", "scar-links"],
    &["scar-trust"],
    &["scar-http"],
    &["scar-cluster"],
    &["scar-vertex", "scar-registry"],
    &TOOLS,
];

/// Programs that are no stage of the pipe.
const BESIDE: [&str; 2] = ["ecr-password", "scar-get"];

/// What crates need that speak HTTP, TLS or Kubernetes.
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

/// What a package is built from on this platform, itself included: its normal and build dependencies and theirs.
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
fn arrows_lead_downwards_and_no_tool_uses_another() {
    let metadata = metadata();
    let top = |name: &str| BESIDE.contains(&name).then_some(FLOORS.len() - 1);
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
fn the_ground_and_mkmanifests_link_nothing_of_the_network() {
    let metadata = metadata();
    for name in ["scar-tool", "scar-record", "scar-links", "mkmanifests"] {
        let tree = tree(&metadata, name);
        let network: Vec<_> = NETWORK.iter().filter(|crate_| tree.contains(**crate_)).collect();
        assert!(network.is_empty(), "{name} links {network:?}");
    }
    // The names are those that the others do link: else this could not fail.
    let (push, wait) = (tree(&metadata, "ocipush"), tree(&metadata, "specman-wait"));
    for crate_ in ["reqwest", "rustls", "hyper", "tokio"] {
        assert!(push.contains(crate_), "ocipush links no {crate_}");
    }
    assert!(wait.contains("kube") || wait.contains("kube-client"));
}

#[test]
fn the_sdk_of_aws_is_linked_by_ecr_password_alone() {
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
    // Forbidden for all, so that no crate can allow it again; the word alone would be an attempt.
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
