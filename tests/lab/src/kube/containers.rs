//! The containers of a pod and their logs: the model behind `pods/NAME/log`.
//!
//! A container has an instance after each restart; an instance has a file after each rotation. A reader stays on its file
//! and gets nothing more after a rotation, as a kubelet's may (kubernetes pkg/kubelet/kuberuntime/logs/logs.go, ReadLogs and
//! waitLogs); a new one begins with the current file, the only one that a kubelet serves.

use jiff::Timestamp;

/// One entry of a log file. The runtime splits a long line into several entries, of which the last ends it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) time: Timestamp,
    pub(super) text: Vec<u8>,
    pub(super) ends_line: bool,
}

/// One run of a container.
pub(super) struct Instance {
    /// `containerd://` and 64 hex digits.
    pub(super) id: String,
    /// Files in the order of rotation; the last is the one that is open. Never empty.
    pub(super) files: Vec<Vec<Entry>>,
    pub(super) started: Timestamp,
    pub(super) end: Option<End>,
}

/// How an instance ended.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) at: Timestamp,
    pub(super) code: i32,
    pub(super) reason: &'static str,
}

/// A container and its instances, the current one last.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) instances: Vec<Instance>,
    /// It keeps crashing, whatever the pod's state, and the kubelet waits before each restart.
    pub(super) backs_off: bool,
}

impl Container {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), instances: Vec::new(), backs_off: false }
    }

    /// Starts an instance, after ending a running one.
    pub(super) fn start(&mut self) {
        self.end(1, "Error");
        let (a, b) = (super::uid(), super::uid());
        self.instances.push(Instance {
            id: format!("containerd://{}{}", a.replace('-', ""), b.replace('-', "")),
            files: vec![Vec::new()],
            started: Timestamp::now(),
            end: None,
        });
    }

    /// Ends the running instance, if there is one.
    pub(super) fn end(&mut self, code: i32, reason: &'static str) {
        if let Some(instance) = self.running_mut() {
            instance.end = Some(End { at: Timestamp::now(), code, reason });
        }
    }

    pub(super) fn running(&self) -> Option<&Instance> {
        self.instances.last().filter(|i| i.end.is_none())
    }

    pub(super) fn running_mut(&mut self) -> Option<&mut Instance> {
        self.instances.last_mut().filter(|i| i.end.is_none())
    }

    /// The last ended instance.
    pub(super) fn ended(&self) -> Option<(usize, &Instance, End)> {
        let mut all = self.instances.iter().enumerate().rev();
        all.find_map(|(place, instance)| Some((place, instance, instance.end?)))
    }

    /// The number of restarts, as in the pod's status.
    pub(super) fn restarts(&self) -> usize {
        self.instances.len().saturating_sub(1)
    }
}

/// The options of a log request.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) previous: bool,
    pub(super) timestamps: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Option<usize>,
    pub(super) limit: Option<usize>,
}

/// A position in one file of one instance.
pub(super) struct Reader {
    pub(super) instance: usize,
    file: usize,
    next: usize,
    timestamps: bool,
    since: Option<Timestamp>,
    left: Option<usize>,
    at_line_start: bool,
}

impl Reader {
    /// Opens the newest file of an instance; `tail` counts back from its end, then `since` filters.
    pub(super) fn open(instance: usize, files: &[Vec<Entry>], wanted: &Wanted) -> Self {
        let file = files.len().saturating_sub(1);
        let lines = files.last().map_or(0, Vec::len);
        Self {
            instance,
            file,
            next: wanted.tail.map_or(0, |tail| lines.saturating_sub(tail)),
            timestamps: wanted.timestamps,
            since: wanted.since,
            left: wanted.limit,
            at_line_start: true,
        }
    }

    /// The unread rest of the file.
    pub(super) fn take(&mut self, files: &[Vec<Entry>]) -> Vec<u8> {
        let mut out = Vec::new();
        let entries = files.get(self.file).map_or(&[][..], Vec::as_slice);
        for entry in &entries[self.next.min(entries.len())..] {
            self.next += 1;
            if self.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            if self.timestamps && self.at_line_start {
                out.extend_from_slice(format!("{:.9} ", entry.time).as_bytes());
            }
            out.extend_from_slice(&entry.text);
            if entry.ends_line {
                out.push(b'\n');
            }
            self.at_line_start = entry.ends_line;
        }
        if let Some(left) = &mut self.left {
            out.truncate(*left);
            *left -= out.len();
        }
        out
    }

    /// Whether the limit is reached.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: &str, text: &str, ends_line: bool) -> Entry {
        Entry { time: time.parse().unwrap(), text: text.as_bytes().to_vec(), ends_line }
    }

    fn read(wanted: &Wanted) -> String {
        let file = vec![
            entry("2024-12-06T12:43:14.1Z", "one", true),
            entry("2024-12-06T12:43:14.9Z", "tw", false),
            entry("2024-12-06T12:43:15Z", "o", true),
            entry("2024-12-06T12:43:16.000000001Z", "three", true),
        ];
        let files = [vec![entry("2024-12-06T12:00:00Z", "rotated away", true)], file];
        let mut reader = Reader::open(0, &files, wanted);
        String::from_utf8(reader.take(&files)).unwrap()
    }

    #[test]
    fn a_log_is_narrowed_and_stamped_as_asked() {
        let since = |s: &str| Some(s.parse().unwrap());
        let cases = [
            (Wanted::default(), "one\ntwo\nthree\n"),
            (Wanted { tail: Some(1), ..Wanted::default() }, "three\n"),
            (Wanted { since: since("2024-12-06T12:43:16Z"), ..Wanted::default() }, "three\n"),
            (Wanted { limit: Some(5), ..Wanted::default() }, "one\nt"),
            (
                Wanted { timestamps: true, ..Wanted::default() },
                "2024-12-06T12:43:14.100000000Z one\n2024-12-06T12:43:14.900000000Z two\n2024-12-06T12:43:16.000000001Z three\n",
            ),
        ];
        for (wanted, expected) in cases {
            assert_eq!(read(&wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn a_reader_hears_nothing_after_a_rotation() {
        let mut files = vec![vec![entry("2024-12-06T12:43:14Z", "before", true)]];
        let mut reader = Reader::open(0, &files, &Wanted::default());
        assert_eq!(reader.take(&files), b"before\n");
        files.push(vec![entry("2024-12-06T12:43:15Z", "after", true)]);
        assert_eq!(reader.take(&files), b"");
        assert_eq!(Reader::open(0, &files, &Wanted::default()).take(&files), b"after\n");
    }

    #[test]
    fn a_restart_keeps_the_ended_instance_and_is_counted() {
        let mut container = Container::new("c");
        container.start();
        container.start();
        assert_eq!(container.restarts(), 1);
        assert!(container.running().is_some());
        assert_eq!(container.ended().map(|(place, _, end)| (place, end.code)), Some((0, 1)));
    }
}
