//! The result of a comparison: counts, differences, and the replicas that have them.

use scar_record::{Digest, Verified};
use scar_tool::{Console, Exit, Failure};

use crate::compare::Verdict;
use crate::tree::{Expected, text};

/// The most files to list.
pub(crate) const LISTED: usize = 20;

/// A file that a replica does not serve as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its index in the list of files.
    pub(crate) file: usize,
    /// The replica's index.
    pub(crate) replica: usize,
    pub(crate) verdict: Verdict,
}

/// Everything that was compared.
pub(crate) struct Report<'r> {
    pub(crate) files: &'r [Expected],
    pub(crate) replicas: &'r [String],
    /// The differences, in any order.
    pub(crate) findings: Vec<Finding>,
    /// The name of what was compared with.
    pub(crate) source: &'r str,
    /// The digest of the layer that was compared with, if it was one.
    pub(crate) layer: Option<&'r Digest>,
}

impl Report<'_> {
    /// The record's section. A file counts once, with its worst result among the replicas.
    pub(crate) fn section(&self) -> Verified {
        let mut worst = vec![&Verdict::Same; self.files.len()];
        for finding in &self.findings {
            worst[finding.file] = worst[finding.file].max(&finding.verdict);
        }
        let count = |is: fn(&Verdict) -> bool| worst.iter().filter(|verdict| is(verdict)).count() as u64;
        Verified {
            layer: self.layer.cloned(),
            compared: self.files.len() as u64,
            missing: count(|verdict| *verdict == Verdict::Missing),
            different: count(|verdict| matches!(verdict, Verdict::Different(_))),
            unreadable: count(|verdict| matches!(verdict, Verdict::Unreadable(_))),
            bytes: self.files.iter().map(|expected| expected.file.size).sum(),
            source: self.source.to_owned(),
        }
    }

    /// One line for each of at most [`LISTED`] differences, the same ones of several replicas in one line, then how many
    /// more there are.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by(|a, b| (a.file, &a.verdict, a.replica).cmp(&(b.file, &b.verdict, b.replica)));
        let alike: Vec<&[&Finding]> = findings.chunk_by(|a, b| (a.file, &a.verdict) == (b.file, &b.verdict)).collect();
        let mut lines: Vec<String> = alike.iter().take(LISTED).map(|alike| self.line(alike)).collect();
        if alike.len() > LISTED {
            lines.push(format!("and {} more", alike.len() - LISTED));
        }
        lines
    }

    fn line(&self, alike: &[&Finding]) -> String {
        let Some(first) = alike.first() else { return String::new() };
        let replicas: Vec<&str> = alike.iter().map(|finding| self.replicas[finding.replica].as_str()).collect();
        let place = format!("'{}' at {}", text(&self.files[first.file].name), replicas.join(", "));
        match &first.verdict {
            Verdict::Same => format!("the same: {place}"),
            Verdict::Missing => format!("missing: {place}"),
            Verdict::Different(how) => format!("different: {place}: {how}"),
            Verdict::Unreadable(why) => format!("unreadable: {place}: {why}"),
        }
    }

    /// `3 of 120 files of '…' are not served as they were pushed: 2 missing, 1 different, 0 unreadable`.
    fn sum(&self) -> String {
        let Verified { compared, missing, different, unreadable, .. } = self.section();
        let bad = missing + different + unreadable;
        format!(
            "{bad} of {} of '{}' {} not served as pushed: {missing} missing, {different} different, {unreadable} unreadable",
            files(compared),
            self.source,
            are(bad)
        )
    }

    fn hint(&self) -> String {
        let lagging = self.lagging();
        match lagging.len() == self.replicas.len() {
            true => {
                "does Specman serve the tag that was pushed? see specman-wait; --path-prefix names a folder at Specman, and a \
                   longer --timeout waits on"
                    .to_owned()
            }
            false => format!(
                "the other replicas serve all of it, {} lags behind: run specman-wait, then this again",
                lagging.join(", ")
            ),
        }
    }

    /// The differences at one replica.
    pub(crate) fn of(&self, replica: usize) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.replica == replica)
    }

    /// The names of the replicas with differences.
    fn lagging(&self) -> Vec<&str> {
        let lagging = (0..self.replicas.len()).filter(|replica| self.of(*replica).next().is_some());
        lagging.map(|replica| self.replicas[replica].as_str()).collect()
    }

    /// One line about what the wait is for.
    pub(crate) fn waiting(&self) -> String {
        format!("{}; waiting for {}", self.sum(), self.lagging().join(", "))
    }

    /// Reports the result: as a failure, or as a warning if the user only wants a report.
    ///
    /// # Errors
    /// Exit 7 if there are differences and `report_only` is not set.
    pub(crate) fn finish(&self, report_only: bool, console: &Console) -> Result<(), Failure> {
        if self.findings.is_empty() {
            let count = self.files.len() as u64;
            let (files, replicas) = (files(count), self.replicas.join(", "));
            console.note(format!("{files} of '{}' {} served as pushed by {replicas}", self.source, are(count)));
            return Ok(());
        }
        if report_only {
            console.warn(self.sum());
            self.lines().iter().for_each(|line| console.note(line));
            console.hint(self.hint());
            return Ok(());
        }
        let failure = Failure::new(Exit::Mismatch, self.sum()).hint(self.hint());
        Err(self.lines().iter().fold(failure, |failure, line| failure.detail(line)))
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, File};
    use std::sync::Arc;

    fn expected(count: usize) -> Vec<Expected> {
        let file = Arc::new(File { size: 10, content: Content::Sum([0; 32]) });
        (0..count).map(|number| Expected { name: format!("f{number:03}").into(), file: file.clone() }).collect()
    }

    fn report<'r>(files: &'r [Expected], replicas: &'r [String], found: &[(usize, usize, Verdict)]) -> Report<'r> {
        let findings =
            found.iter().map(|(file, replica, verdict)| Finding { file: *file, replica: *replica, verdict: verdict.clone() });
        Report { files, replicas, findings: findings.collect(), source: "/m.tgz", layer: None }
    }

    #[test]
    fn a_file_counts_once_under_the_worst() {
        let (files, replicas) = (expected(5), ["a".to_owned(), "b".to_owned()]);
        let report = report(
            &files,
            &replicas,
            &[
                (0, 0, Verdict::Missing),
                (0, 1, Verdict::Different("other bytes in its 10".into())),
                (1, 1, Verdict::Missing),
                (2, 0, Verdict::Unreadable("500".into())),
                (2, 1, Verdict::Missing),
                (3, 0, Verdict::Unreadable("500".into())),
            ],
        );
        let section = report.section();
        assert_eq!((section.compared, section.missing, section.different, section.unreadable, section.bytes), (5, 2, 1, 1, 50));
        let failure = report.finish(false, &Console::new("test")).unwrap_err();
        assert_eq!(failure.exit, Exit::Mismatch);
        assert_eq!(failure.message, "4 of 5 files of '/m.tgz' are not served as pushed: 2 missing, 1 different, 1 unreadable");
        assert_eq!(failure.details[1], "different: 'f000' at b: other bytes in its 10");
        assert!(failure.hint.unwrap().starts_with("does Specman serve the tag"));
        assert!(report.finish(true, &Console::new("test")).is_ok());
    }

    #[test]
    fn twenty_are_listed_and_the_rest_counted_and_the_laggard_named() {
        let (files, replicas) = (expected(23), ["a".to_owned(), "b".to_owned()]);
        let found: Vec<_> = (0..23).rev().map(|file| (file, 1, Verdict::Missing)).collect();
        let report = report(&files, &replicas, &found);
        let lines = report.lines();
        let both = [(0, 1, Verdict::Missing), (0, 0, Verdict::Missing)];
        assert_eq!(self::report(&files, &replicas, &both).lines(), ["missing: 'f000' at a, b"]);
        assert_eq!((lines.len(), lines[0].as_str(), lines[20].as_str()), (21, "missing: 'f000' at b", "and 3 more"));
        let hint = report.finish(false, &Console::new("test")).unwrap_err().hint.unwrap();
        assert_eq!(hint, "the other replicas serve all of it, b lags behind: run specman-wait, then this again");
    }
}
