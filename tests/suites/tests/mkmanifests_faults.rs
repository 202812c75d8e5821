//! mkmanifests: never half a file. Faults are put into the real binary's system calls by strace, a disk is filled, runs
//! are killed and run against each other. Rows M2, M4, M7, M8, M9 and M12 of the faults.

// A check that cannot be made fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scar_kit::{Outcome, Run, Signal, binary, peer, program, tool};
use tempfile::TempDir;

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

/// A tree of one large and one small file, and a folder with an old archive.
struct Site {
    tree: TempDir,
    out: TempDir,
}

const OLD: &[u8] = b"the old archive";

impl Site {
    fn new(large: usize) -> Self {
        let site = Self { tree: TempDir::new().unwrap(), out: TempDir::new().unwrap() };
        fs::write(site.tree.path().join("large"), noise(large)).unwrap();
        fs::write(site.tree.path().join("small"), "small\n").unwrap();
        fs::write(site.archive(), OLD).unwrap();
        site
    }

    fn archive(&self) -> PathBuf {
        self.out.path().join("manifests.tgz")
    }

    /// A run of the tool inside of strace.
    fn traced(&self, strace: &Path, options: &[&str]) -> Run {
        program(strace)
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(options)
            .arg(binary("mkmanifests"))
            .arg(self.tree.path())
            .args(["--threads", "2"])
            .folder(self.out.path())
            .called(self.out.path().canonicalize().unwrap().display(), "[OUT]")
    }

    /// Claims that nothing but the old archive is there.
    #[track_caller]
    fn is_as_before(&self, outcome: &Outcome) {
        assert_eq!(in_folder(self.out.path()), ["manifests.tgz"], "{outcome}");
        assert_eq!(fs::read(self.archive()).unwrap(), OLD, "{outcome}");
    }
}

fn in_folder(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".mkmanifests-") && name.ends_with(".tmp")
}

/// Whether an archive is whole.
fn is_whole(archive: &[u8]) -> bool {
    let mut decoder = flate2::bufread::GzDecoder::new(archive);
    decoder.read_to_end(&mut Vec::new()).is_ok() && decoder.into_inner().is_empty()
}

#[test]
fn m2_a_file_that_is_gone_when_it_is_looked_at_is_named_and_another_try_can_succeed() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(10);
    let inject =
        ["-P", "small", "-e", "trace=newfstatat,statx,fstatat64", "-e", "inject=newfstatat,statx:error=ENOENT:when=1..2"];
    let outcome = site.traced(&strace, &inject).run();
    outcome.fails(
        1,
        "mkmanifests: error: pack './small': vanished while reading\n\
         mkmanifests: hint: stop what writes to the tree, leave it out (--exclude), or use --retries\n",
    );
    site.is_as_before(&outcome);
    let outcome = site.traced(&strace, &inject).args(["--retries", "1"]).run();
    outcome.succeeds().tells("mkmanifests: warning: pack './small': vanished while reading; beginning again\n");
    let archive = fs::read(site.archive()).unwrap();
    assert!(is_whole(&archive));
    assert_eq!(outcome.json()["archive"]["size"], archive.len());
}

#[test]
fn m4_a_disk_error_is_told_with_path_and_offset() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(1 << 20);
    let large = site.tree.path().join("large");
    let outcome = site.traced(&strace, &["-P", large.to_str().unwrap(), "-e", "inject=pread64:error=EIO:when=3"]).run();
    outcome.fails(
        1,
        "mkmanifests: error: read './large' at byte 524288: input/output error\n\
         mkmanifests: hint: the disk may be damaged: look at the system's log\n",
    );
    site.is_as_before(&outcome);
    let small = site.tree.path().join("small");
    let outcome = site.traced(&strace, &["-P", small.to_str().unwrap(), "-e", "inject=read:error=EIO"]).run();
    outcome.fails(
        1,
        "mkmanifests: error: read './small' at byte 0: input/output error\n\
         mkmanifests: hint: the disk may be damaged: look at the system's log\n",
    );
    site.is_as_before(&outcome);
    let tree = site.tree.path().to_str().unwrap();
    let outcome = site.traced(&strace, &["-P", tree, "-e", "inject=getdents64:error=EIO"]).run();
    outcome.fails(1, "mkmanifests: error: list './': input/output error\n");
    site.is_as_before(&outcome);
}

#[test]
fn m7_a_full_disk_at_any_write_leaves_the_old_archive() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(3 << 20);
    // Counted by thread: one thread writes the archive, in a header, seven blocks and a trailer.
    let mut failures = 0;
    for write in 2..20 {
        let inject = format!("inject=write:error=ENOSPC:when={write}");
        let outcome = site.traced(&strace, &["-e", &inject]).run();
        if outcome.status() == 0 {
            break;
        }
        outcome.fails(1, "mkmanifests: error: write '[OUT]/manifests.tgz': no space left on device\n");
        site.is_as_before(&outcome);
        failures += 1;
    }
    assert!((7..12).contains(&failures), "{failures} writes");
    assert!(is_whole(&fs::read(site.archive()).unwrap()));
}

/// A real file system that is full after each number of pages, in a mount namespace of its own.
#[test]
fn m7_a_disk_that_fills_at_each_page_leaves_the_old_archive() {
    let site = Site::new(60 << 10);
    let script = r#"
        mount -t tmpfs -o size=4k none "$2" 2>/dev/null || { echo unmountable; exit 0; }
        printf 'the old archive' >"$2/manifests.tgz"
        for pages in $(seq 2 30); do
            mount -o "remount,size=$((pages * 4))k" "$2" || exit 99
            status=0
            "$1" -o "$2/manifests.tgz" --new-record "$3" >"$4/record" 2>"$4/said" || status=$?
            if [ $status = 0 ]; then
                gzip -t "$2/manifests.tgz" || exit 98
                echo "whole at $pages"
                exit 0
            fi
            [ $status = 1 ] && grep -q 'no space left on device' "$4/said" || { cat "$4/said"; exit 97; }
            [ "$(cat "$2/manifests.tgz")" = 'the old archive' ] || exit 96
            [ "$(ls -A "$2")" = manifests.tgz ] && [ ! -s "$4/record" ] || exit 95
        done
    "#;
    let Some(outcome) = on_a_small_disk(script, &site) else { return };
    let pages: usize = outcome.succeeds().stdout().trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((15..=20).contains(&pages), "60 KiB and the old archive take {pages} pages");
}

/// Where the archive that is there takes most of the disk, and where the tree is far larger than it.
#[test]
fn m7_a_disk_without_room_is_told_before_anything_is_read() {
    let site = Site::new(100);
    let large = fs::File::create(site.tree.path().join("large")).unwrap();
    large.set_len(100 << 20).unwrap();
    let script = r#"
        mount -t tmpfs -o size=64k none "$2" 2>/dev/null || { echo unmountable; exit 0; }
        "$1" -o "$2/manifests.tgz" --new-record "$3" 2>&1 && exit 99
        head -c 49152 /dev/zero >"$2/manifests.tgz"
        mkfifo "$3/the walk would find this"
        "$1" -o "$2/manifests.tgz" --new-record "$3" 2>&1 && exit 98
        [ "$(ls -A "$2")" = manifests.tgz ]
    "#;
    let Some(outcome) = on_a_small_disk(script, &site) else { return };
    let hint = "mkmanifests: hint: free some, name another place with -o, or stream it with -o -\n";
    let says = format!(
        "mkmanifests: error: write '[DISK]/manifests.tgz': no space: 65536 bytes are free, and an archive of this tree needs \
         about 1048576\n{hint}mkmanifests: error: write '[DISK]/manifests.tgz': no space: 16384 bytes are free, and the archive \
         that is there needs about 24576\n{hint}"
    );
    outcome.succeeds().prints(&says);
}

/// Runs a bash script with the tool, a folder to mount a file system on, the tree, and a folder for notes; none where
/// nothing may be mounted.
fn on_a_small_disk(script: &str, site: &Site) -> Option<Outcome> {
    let unshare = peer("unshare")?;
    let (mount, notes) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let run = program(unshare).args(["-m", "bash", "-c", script, "bash"]).arg(binary("mkmanifests"));
    let run = run.arg(mount.path()).arg(site.tree.path()).arg(notes.path());
    let outcome = run.called(mount.path().canonicalize().unwrap().display(), "[DISK]").run();
    // Without the privilege to mount there is still the fault at each write.
    if outcome.stderr().contains("unshare failed") || outcome.stdout() == "unmountable\n" {
        left_out("a file system that fills");
        return None;
    }
    Some(outcome)
}

/// Says what was left out, past the capture of a passing test.
fn left_out(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} cannot be made, and CI leaves nothing out");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("left out, for want of privileges: {what}\n").as_bytes());
}

#[test]
fn m8_a_kill_at_any_step_leaves_one_whole_archive_and_the_next_run_cleans_up() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(1 << 20);
    let new = tool("mkmanifests").arg(site.tree.path()).args(["-o", "-"]).run().succeeds().stdout_bytes().to_vec();
    let (mut kills, mut drafts, mut renewed) = (0, 0, 0);
    for (call, times) in [
        ("openat", 6),
        ("flock", 3),
        ("getdents64", 2),
        ("write", 7),
        ("fsync", 3),
        ("rename,renameat,renameat2", 2),
        ("close", 5),
    ] {
        for time in 1..=times {
            fs::write(site.archive(), OLD).unwrap();
            let inject = format!("inject={call}:signal=KILL:when={time}");
            let outcome = site.traced(&strace, &["-e", &inject]).run();
            kills += usize::from(outcome.status() == 137);
            let archive = fs::read(site.archive()).unwrap();
            assert!(archive == OLD || archive == new, "half an archive after {call} {time}\n{outcome}");
            renewed += usize::from(outcome.status() == 137 && archive == new);
            let left = in_folder(site.out.path()).into_iter().filter(|name| is_temporary(name));
            let length = |name: &str| fs::metadata(site.out.path().join(name)).unwrap().len();
            let left: Vec<_> = left.map(|name| (length(&name), name)).collect();
            drafts += left.len();
            let outcome = tool("mkmanifests").arg(site.tree.path()).folder(site.out.path()).run();
            outcome.succeeds();
            let says: String = left
                .iter()
                .filter(|(length, _)| *length > 0)
                .map(|(_, name)| {
                    let path = site.out.path().canonicalize().unwrap().join(name);
                    format!("mkmanifests: removed '{}', left by a run that was cut off\n", path.display())
                })
                .collect();
            assert_eq!(outcome.stderr(), says);
            assert_eq!(in_folder(site.out.path()), ["manifests.tgz"]);
            assert_eq!(fs::read(site.archive()).unwrap(), new);
        }
    }
    // The faults really came, before and after the rename.
    assert!(kills >= 15 && drafts >= 5 && renewed >= 1, "{kills} kills, {drafts} drafts, {renewed} renewed");
}

#[test]
fn m9_success_means_that_file_rename_and_folder_are_on_the_disk() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(1000);
    let outcome = site.traced(&strace, &["-e", "inject=fsync:error=EIO:when=1"]).run();
    outcome.fails(1, "mkmanifests: error: sync '[OUT]/manifests.tgz': input/output error\n");
    site.is_as_before(&outcome);
    let outcome = site.traced(&strace, &["-e", "inject=rename,renameat,renameat2:error=EXDEV"]).run();
    outcome.fails(1, "mkmanifests: error: rename to '[OUT]/manifests.tgz': invalid cross-device link\n");
    site.is_as_before(&outcome);
    let outcome = site.traced(&strace, &["-e", "inject=fsync:error=EIO:when=2"]).run();
    outcome.fails(
        1,
        "mkmanifests: error: sync folder '[OUT]': input/output error\n\
         mkmanifests: hint: the new archive is in its place, but a power cut may lose it; run it again\n",
    );
    assert!(is_whole(&fs::read(site.archive()).unwrap()));
    assert_eq!(in_folder(site.out.path()), ["manifests.tgz"]);
}

#[test]
fn m9_a_sync_that_fails_while_the_archive_is_written_is_not_forgotten() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(9 << 20);
    let outcome = site.traced(&strace, &["-e", "inject=fdatasync:error=EIO:when=1"]).run();
    outcome.fails(1, "mkmanifests: error: sync '[OUT]/manifests.tgz': input/output error\n");
    site.is_as_before(&outcome);
}

#[test]
fn m12_of_two_runs_at_once_one_wins_whole() {
    let site = Site::new(6 << 20);
    // Into the tree itself, so that each also meets the other's temporary file.
    let to = site.tree.path().join("m.tgz");
    let run = || tool("mkmanifests").arg(site.tree.path()).arg("-o").arg(&to).start();
    for _ in 0..3 {
        let (one, other) = (run(), run());
        let outcomes = [one.wait(), other.wait()];
        for outcome in &outcomes {
            outcome.succeeds().quiet();
        }
        assert_eq!(outcomes[0].json(), outcomes[1].json());
        assert!(is_whole(&fs::read(&to).unwrap()));
        assert_eq!(in_folder(site.tree.path()), ["large", "m.tgz", "small"]);
    }
}

/// Starts a run that would take long, and waits until its archive grows.
fn long_run(site: &Site) -> scar_kit::Running {
    let large = fs::File::create(site.tree.path().join("large")).unwrap();
    large.set_len(100 << 30).unwrap();
    let run = tool("mkmanifests").arg(site.tree.path()).folder(site.out.path()).start();
    let patience = Instant::now() + Duration::from_secs(30);
    let grows = || {
        let draft = in_folder(site.out.path()).into_iter().find(|name| is_temporary(name));
        draft.is_some_and(|name| fs::metadata(site.out.path().join(name)).is_ok_and(|meta| meta.len() > 1000))
    };
    while !grows() {
        assert!(Instant::now() < patience, "no archive grows");
        std::thread::yield_now();
    }
    run
}

#[test]
fn a_signal_removes_the_draft_and_keeps_the_old_archive() {
    for (signal, status, says) in
        [(Signal::INT, 130, "mkmanifests: error: interrupted\n"), (Signal::TERM, 143, "mkmanifests: error: terminated\n")]
    {
        let site = Site::new(10);
        let run = long_run(&site);
        run.signal(signal);
        let outcome = run.wait();
        outcome.fails(status, says);
        site.is_as_before(&outcome);
    }
}

#[test]
fn a_draft_under_way_is_not_taken_for_a_stale_one() {
    let site = Site::new(10);
    let run = long_run(&site);
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("f"), "x").unwrap();
    tool("mkmanifests").arg(other.path()).arg("-o").arg(site.out.path().join("other.tgz")).run().succeeds().quiet();
    let left = in_folder(site.out.path());
    assert!(left.len() == 3 && is_temporary(&left[0]), "{left:?}");
    run.signal(Signal::KILL);
    run.wait().exits(137);
    let outcome = tool("mkmanifests").arg(other.path()).arg("-o").arg(site.out.path().join("other.tgz")).run();
    outcome.succeeds().says("left by a run that was cut off");
    assert_eq!(in_folder(site.out.path()), ["manifests.tgz", "other.tgz"]);
}

#[test]
fn a_reader_that_goes_away_ends_a_stream() {
    let site = Site::new(10 << 20);
    let script = format!("mkmanifests -o - --new-record '{}' | head -c 1000 >/dev/null", site.tree.path().display());
    let outcome = scar_kit::bash(&script).run();
    outcome.fails(1, "mkmanifests: error: write 'standard output': broken pipe\n");
}
