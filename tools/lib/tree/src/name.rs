//! Shows file names in messages and with `-v` as `tar -v` does (GNU tar manual, "Quoting Member Names"), so that any bytes
//! become one line: a name must not be able to write to the terminal, or to look like a line of its own.

use std::fmt::Write;
use std::path::Path;

use scar_tool::Failure;

/// A name as text: control characters and bytes that are not UTF-8 become escapes, backslashes are doubled.
pub fn quoted(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    octal(&mut out, c.encode_utf8(&mut bytes).as_bytes());
                }
                c => out.push(c),
            }
        }
        octal(&mut out, chunk.invalid());
    }
    out
}

/// A path for the record.
///
/// # Errors
/// Exit 2 if it is not UTF-8, which JSON needs.
pub fn recordable(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let shown = quoted(path.as_os_str().as_encoded_bytes());
        Failure::misuse(format_args!("'{shown}' is not UTF-8, and the record can hold only UTF-8")).hint("-o - writes no record")
    })
}

fn octal(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn any_name_is_one_line_of_text() {
        for (name, shown) in [
            (&b"./a b"[..], "./a b"),
            (b"./gr\xc3\xbc\xc3\x9fe", "./grüße"),
            (b"a\nb\tc\x1b[1m", "a\\nb\\tc\\033[1m"),
            (b"\xff\\", "\\377\\\\"),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }
}
