//! Names of any length and bytes, a file above 8 GiB, and a huge tree in little memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use scar_kit::{binary, peer, program, tool};
use tempfile::TempDir;

use crate::{names, noise};

#[test]
fn m13_names_of_any_length_and_bytes() {
    let Some(python) = peer("python3") else { return };
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // Nested folders until the path is too long for one system call.
    let script = "import os, sys\nos.chdir(sys.argv[1])\nfor n in range(30):\n  os.mkdir('d' * 200); os.chdir('d' * 200)\n\
        open(b'\\xff\\n -' + b'x' * 250, 'w').write('deep')\n";
    program(&python).args(["-c", script]).arg(tree.path()).run().succeeds();
    fs::write(tree.path().join("y".repeat(255)), "").unwrap();
    tool("mkmanifests").arg(tree.path()).folder(out.path()).run().succeeds().quiet();
    let check = "import sys, tarfile\nt = tarfile.open('manifests.tgz')\nm = t.getmembers()\n\
        name = './' + ('d' * 200 + '/') * 30 + '\\udcff\\n -' + 'x' * 250\n\
        assert m[-2].name == name, m[-2].name\nassert t.extractfile(m[-2]).read() == b'deep'\n\
        assert m[-1].name == './' + 'y' * 255 and len(m) == 33, len(m)\n";
    program(&python).args(["-c", check]).folder(out.path()).run().succeeds();
}

#[test]
fn m13_a_file_of_more_than_eight_gibibytes() {
    let Some(tar) = peer("tar") else { return };
    let tree = TempDir::new().unwrap();
    File::create(tree.path().join("large")).unwrap().set_len((8 << 30) + 1).unwrap();
    fs::write(tree.path().join("z"), "after it\n").unwrap();
    let mut ours = Command::new(binary("mkmanifests"))
        .args(["-o", "-", "--level", "1", "--new-record"])
        .arg(tree.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut theirs =
        Command::new(tar).args(["-tvf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut decoder = flate2::read::GzDecoder::new(ours.stdout.take().unwrap());
    // tar lists an entry before it reads its content: the headers suffice.
    let mut headers = [0; 1024];
    decoder.read_exact(&mut headers).unwrap();
    theirs.stdin.take().unwrap().write_all(&headers).unwrap();
    let listed = String::from_utf8(theirs.wait_with_output().unwrap().stdout).unwrap();
    let sizes: Vec<_> = listed.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(sizes, ["0", "8589934593"], "{listed}");
    // The decoder verifies the rest's length and checksum.
    let rest = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    assert_eq!(rest, (8 << 30) + 512 + 1024 + 1024);
    assert!(ours.wait().unwrap().success());
}

#[test]
fn m13_memory_is_bounded_whatever_the_tree() {
    let Some(python) = peer("python3") else { return };
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // Enough that threads share the listing of one folder.
    for folder in ["a", "b"] {
        fs::create_dir(tree.path().join(folder)).unwrap();
        for file in 0..10_000 {
            File::create(tree.path().join(format!("{folder}/manifest-of-some-pack-{file}.yaml"))).unwrap();
        }
    }
    fs::write(tree.path().join("large"), noise(40 << 20, 5)).unwrap();
    let script = "import resource, subprocess, sys\nsubprocess.run(sys.argv[1:], check=True, capture_output=True)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    for threads in ["2", "8"] {
        let run = program(&python).args(["-c", script]).arg(binary("mkmanifests")).arg(tree.path());
        let outcome = run.args(["--new-record", "--threads", threads]).folder(out.path()).run();
        let kib: u64 = outcome.succeeds().stdout().trim().parse().unwrap();
        assert!(kib < 64 * 1024, "{kib} KiB with {threads} threads");
    }
    let packed = names(&fs::read(out.path().join("manifests.tgz")).unwrap());
    assert!(packed.len() == 20_004 && packed.is_sorted(), "{}", packed.len());
}
