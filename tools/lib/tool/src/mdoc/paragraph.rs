//! A paragraph: words gathered one by one, then filled into lines.

/// The columns that are filled, as mandoc does on a terminal of 80.
pub(super) const WIDTH: usize = 78;

/// The paragraph so far.
#[derive(Default)]
pub(super) struct Paragraph {
    /// Words, each with the spaces before it.
    words: Vec<(usize, String)>,
    /// The next word belongs to the last one.
    pub(super) glued: bool,
    /// The last line ended a sentence.
    pub(super) ended: bool,
    /// The indentation of the first line, if it differs.
    pub(super) first: Option<usize>,
    /// The tag at the start of the first line.
    pub(super) tag: Option<String>,
    /// Whether text in brackets stays on one line, as in a synopsis.
    pub(super) options_are_whole: bool,
}

impl Paragraph {
    /// The next word.
    pub(super) fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        let spaces = if std::mem::take(&mut self.ended) { 2 } else { 1 };
        let glued = std::mem::take(&mut self.glued);
        match self.words.last_mut() {
            Some((_, last)) if glued => last.push_str(word),
            Some((_, last)) if self.options_are_whole && last.matches('[').count() > last.matches(']').count() => {
                last.push(' ');
                last.push_str(word);
            }
            _ => self.words.push((spaces, word.to_owned())),
        }
    }

    /// A mark that the next word follows without a space; gives it back, as what also closes.
    pub(super) fn open<'a>(&mut self, mark: &'a str) -> &'a str {
        self.word(mark);
        self.glued = true;
        mark
    }

    /// A mark that follows the last word without a space.
    pub(super) fn close(&mut self, mark: &str) {
        self.glued = true;
        self.word(mark);
    }

    /// The paragraph in lines, set in by `indent`.
    pub(super) fn filled(&mut self, indent: usize) -> String {
        let first = self.first.take().unwrap_or(indent);
        let mut line = self.tag.take().unwrap_or_else(|| " ".repeat(first));
        let (mut text, mut begun) = (String::new(), false);
        for (spaces, word) in std::mem::take(&mut self.words) {
            if begun && line.chars().count() + spaces + word.chars().count() > WIDTH {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(indent);
                begun = false;
            }
            if begun {
                line.push_str(&" ".repeat(spaces));
            }
            line.push_str(&word);
            begun = true;
        }
        (self.glued, self.ended) = (false, false);
        if !line.trim().is_empty() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
