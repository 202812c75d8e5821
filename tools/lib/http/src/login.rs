//! User and password: from a file, standard input or a prompt, never from an argument.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use scar_tool::{Bare, Console, Failure, Prefix, Spelling, signal};
use secrecy::SecretString;

use crate::Origin;

/// The longest password in bytes.
const LONGEST: u64 = 64 * 1024;

/// The user, and the file with the password.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
#[command(next_help_heading = P::heading("Login options"))]
pub struct LoginOptions<P: Prefix = Bare> {
    /// Log in as USER
    #[arg(id = P::name("username"), long = P::name("username"), short = P::short('u'), value_name = "USER")]
    pub username: Option<String>,

    /// Read the password from FILE
    #[arg(id = P::name("password-file"), long = P::name("password-file"), value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// How the options are spelled.
    #[arg(skip)]
    pub prefix: PhantomData<P>,
}

/// A login with a password, or a prompt for it.
#[derive(Debug, Clone)]
pub struct Login {
    password: Option<SecretString>,
    /// The options that give a password, for a hint.
    options: String,
}

impl<P: Prefix> LoginOptions<P> {
    /// Reads the given password; `stdin` says whether it is on standard input, for a tool that has `--password-stdin`. Call it
    /// before the record is read. Exit 2 for a password that is empty, or has several lines.
    pub fn open(&self, stdin: Option<bool>, console: &Console) -> Result<Login, Failure> {
        let password = match (&self.password_file, stdin) {
            (_, Some(true)) => Some(read(std::io::stdin(), "the password from standard input", console)?),
            (Some(path), _) => Some(secret_file(path, "the password file", console)?),
            (None, _) => None,
        };
        let or_stdin = if stdin.is_some() { " or --password-stdin" } else { "" };
        Ok(Login { password, options: format!("{} FILE{or_stdin}", Spelling::of::<P>().option("password-file")) })
    }
}

impl Login {
    /// Whether a password was given.
    pub fn is_given(&self) -> bool {
        self.password.is_some()
    }

    /// Prompts for a password that was not given, with user and origin. Exit 2 if there is neither a password nor a
    /// terminal.
    pub fn ask(&mut self, username: &str, origin: &Origin) -> Result<(), Failure> {
        self.password = Some(self.password(username, origin)?);
        Ok(())
    }

    /// The password: the given one, else from a prompt that names user and origin. Exit 2 if there is neither a password nor
    /// a terminal.
    pub fn password(&self, username: &str, origin: &Origin) -> Result<SecretString, Failure> {
        match &self.password {
            Some(password) => Ok(password.clone()),
            None => prompt(username, origin, &self.options),
        }
    }
}

/// Reads a password, token or key from a file with one line; `what` names it for messages, such as `the token file`. Exit 2
/// if the file cannot be read, is empty, or has more than one line.
pub fn secret_file(path: &Path, what: &str, console: &Console) -> Result<SecretString, Failure> {
    let what = format!("{what} '{}'", path.display());
    let open = File::open(path).and_then(|file| file.metadata().map(|data| (file, data)));
    let (file, data) = open.map_err(|error| Failure::unreadable(format!("read {what}"), &error))?;
    if data.is_dir() {
        return Err(Failure::misuse(format!("read {what}: it is a directory")));
    }
    // Others cannot open a pipe by its name, such as /dev/fd/63 of bash's `<(…)`, whatever its mode says.
    if data.is_file() && data.permissions().mode() & 0o044 != 0 {
        let mode = data.mode() & 0o777;
        console.warn(format!("{what} can be read by others (mode {mode:04o})"));
        console.hint(format!("chmod 600 '{}'", path.display()));
    }
    read(file, &what, console)
}

/// Reads one line with a secret: one line ending is removed, a second line is an error.
fn read(source: impl Read, what: &str, console: &Console) -> Result<SecretString, Failure> {
    let mut bytes = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| Failure::unreadable(format!("read {what}"), &error))?;
    secret_line(bytes, what, console).map(SecretString::from)
}

fn secret_line(mut bytes: Vec<u8>, what: &str, console: &Console) -> Result<String, Failure> {
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::misuse(format!("read {what}: it is longer than {LONGEST} bytes")).hint("is this the right file?"));
    }
    let before = bytes.len();
    // Editors and `echo` add one. docker login strips it, too (docker/cli cli/command/registry/login.go,
    // `readSecretFromStdin`).
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.len() != before {
        console.verbose(|| format!("one line ending was stripped from {what}"));
    }
    // A byte order mark would become a part of the password, and a wrong password locks the account. Windows PowerShell 5
    // writes UTF-16 with one (about_Character_Encoding).
    let encoded =
        [(&b"\xef\xbb\xbf"[..], "begins with a byte order mark"), (b"\xff\xfe", "is UTF-16"), (b"\xfe\xff", "is UTF-16")];
    let encoded = encoded.into_iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, is)| is);
    if let Some(is) = encoded.or_else(|| bytes.contains(&0).then_some("holds NUL bytes: it may be UTF-16")) {
        return Err(
            Failure::misuse(format!("read {what}: it {is}")).hint("save it as plain UTF-8 text, without a byte order mark")
        );
    }
    if bytes.is_empty() {
        return Err(Failure::misuse(format!("read {what}: it is empty")).hint("it must hold the secret, on one line"));
    }
    if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(Failure::misuse(format!("read {what}: it has more than one line"))
            .hint("it must contain only the secret, on one line"));
    }
    let secret = String::from_utf8(bytes).map_err(|_| Failure::misuse(format!("read {what}: it is not UTF-8")))?;
    scar_tool::never_show(&secret);
    Ok(secret)
}

fn prompt(username: &str, origin: &Origin, options: &str) -> Result<SecretString, Failure> {
    let none = |_| {
        Failure::misuse(format!("log in to '{origin}': no password is given and there is no terminal to ask on"))
            .hint(format!("use {options}"))
    };
    // Not standard input, which carries the record, nor standard error, which may go to a log (getpass(3) does the same).
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(none)?;
    // A signal during the prompt ends the process, and must restore the terminal's echo.
    let _echo = signal::keep_terminal(&terminal);
    write!(terminal, "Password for {} at {origin}: ", scar_tool::escape(username)).map_err(none)?;
    let mut typed = Vec::new();
    let read = BufReader::new(&terminal).take(LONGEST).read_until(b'\n', &mut typed);
    // The Enter key was not echoed either.
    let _ = writeln!(terminal);
    read.map_err(none)?;
    if typed.pop_if(|byte| *byte == b'\n').is_none() || typed.is_empty() {
        return Err(Failure::misuse(format!("log in to '{origin}': the password is empty")));
    }
    let typed =
        String::from_utf8(typed).map_err(|_| Failure::misuse(format!("log in to '{origin}': the password is not UTF-8")))?;
    scar_tool::never_show(&typed);
    Ok(typed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_ending_is_stripped_and_no_more() {
        let console = Console::new("test");
        let line = |text: &str| secret_line(text.as_bytes().to_vec(), "it", &console);
        assert_eq!(line("pw\n").unwrap(), "pw");
        assert_eq!(line("pw\r\n").unwrap(), "pw");
        assert_eq!(line(" pw ").unwrap(), " pw ");
        for bad in ["", "\n", "\r\n", "a\nb", "a\n\n", "a\rb", "\u{feff}pw\n", "p\0w\0\n\0"] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }
}
