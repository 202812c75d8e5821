//! Prints for each parser the processor time of 1, 2 and 4 MiB of several kinds of input, and fails if a parser needs more
//! than linear time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Four times the input may take this much more time: measured times vary.
const MOST: f64 = 8.0;
/// Times below this say nothing.
const LEAST: Duration = Duration::from_millis(20);

/// Pieces whose repetition has made parsers slow: open brackets, escapes, separators, names.
const PIECES: &[&str] = &[
    "[",
    "{\"a\":",
    "\\",
    "\"",
    "%41",
    "&#65;",
    " ",
    "\n",
    "=",
    "a=\"b\" ",
    ",",
    "/a",
    "../",
    "a: &a [*a]\n",
    "\u{1b}[31m",
    "-----BEGIN CERTIFICATE-----\n",
    "Bearer realm=\"x\",",
    "Xy7+",
    "é",
    "sha256:",
    "0",
    ".",
    "- name: x\n",
    "\u{0}",
];

fn main() -> ExitCode {
    let mut slow = 0;
    for (name, parse) in scar_fuzz::PARSERS {
        let mut worst = (0.0, "", Duration::ZERO);
        for piece in PIECES {
            let [one, two, four] = [1, 2, 4].map(|mebibytes| {
                let input = piece.repeat((mebibytes << 20) / piece.len());
                let begun = Instant::now();
                parse(input.as_bytes());
                begun.elapsed()
            });
            let growth = if four < LEAST { 0.0 } else { four.as_secs_f64() / one.as_secs_f64() };
            if growth > MOST {
                println!("{name}: {piece:?}: {one:.1?}, {two:.1?}, {four:.1?}");
                slow += 1;
            }
            if four > worst.2 {
                worst = (growth, piece, four);
            }
        }
        let (growth, piece, longest) = worst;
        println!("{name:<18} 4 MiB in at most {longest:>9.1?} ({growth:.1} times 1 MiB), of {piece:?}");
    }
    println!("{slow} slower than linear");
    if slow == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
