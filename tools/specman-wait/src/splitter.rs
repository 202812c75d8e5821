//! Splits a stream of bytes into lines, in bounded memory, whatever the chunks and the length of a line.

/// How many bytes of a line are kept; the rest is dropped. A container may write a gigabyte without a line ending, of which
/// the kubelet makes one line (kubernetes pkg/kubelet/kuberuntime/logs/logs.go, `parseCRILog`), and the marker is short.
pub(crate) const LONGEST: usize = 64 * 1024;

/// The beginning of an unfinished line.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
}

impl Splitter {
    /// Takes a chunk and passes on each line that ends in it, without its line ending.
    pub(crate) fn push(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                each(&rest[..end.min(LONGEST)]);
            } else {
                self.keep(&rest[..end]);
                each(&self.line);
                self.line.clear();
            }
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The last line, if the stream ended without a line ending.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        (!self.line.is_empty()).then_some(&self.line)
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LONGEST - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, |line| out.push(line.to_vec()));
        }
        out
    }

    #[test]
    fn w5_a_line_over_two_chunks_is_one_and_a_long_one_is_cut() {
        assert_eq!(lines(&[b"Persist", b"ing 0.0.0\nnext\npart"]), [&b"Persisting 0.0.0"[..], b"next"]);
        let long = vec![b'x'; 1024 * 1024];
        let found = lines(&[&long, &long, b"\nafter\n"]);
        assert_eq!((found[0].len(), found[1].as_slice()), (LONGEST, &b"after"[..]));
    }

    proptest::proptest! {
        #[test]
        fn the_chunks_change_nothing(text in "[a-c\n]{0,200}", cuts in proptest::collection::vec(0usize..200, 0..20)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole: Vec<Vec<u8>> = text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).map(|l| l.as_bytes().to_vec()).collect();
            proptest::prop_assert_eq!(lines(&chunks), whole);
        }
    }
}
