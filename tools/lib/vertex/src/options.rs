//! The options of every tool that uses a session, and the commands that messages offer.

use std::time::Duration;

use scar_http::Origin;
use scar_record::Session;
use scar_tool::{Exit, Failure};
use scar_trust::{RouteOptions, TlsOptions};

/// Where VerteX is and how long to wait for it. A session in the record brings all of it: no option is needed.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "VerteX options")]
pub struct ApiOptions {
    /// Insist that the session is for ENDPOINT
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,

    /// Time for all of VerteX's answers together
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = scar_tool::duration)]
    pub timeout: Duration,

    /// Whom to trust, where it is to differ from the login.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// The way there.
    #[command(flatten)]
    pub route: RouteOptions,
}

impl ApiOptions {
    /// Reads an address of VerteX as a person types it, and gives what was stripped of it: the `/v1` that API pages show,
    /// or the `/system` of the console's address in a browser.
    ///
    /// # Errors
    /// Exit 2 for anything that is not `https://HOST[:PORT]`.
    pub fn address(text: &str) -> Result<(Origin, Option<String>), Failure> {
        let (origin, path) = Origin::parse(text)?;
        match path.as_str() {
            "" => Ok((origin, None)),
            "v1" | "system" => Ok((origin, Some(path))),
            path => {
                Err(Failure::misuse(format!("read the address '{text}': it has the path '/{path}'"))
                    .hint(format!("write {origin}")))
            }
        }
    }

    /// The origin of a session, where `--endpoint` does not ask for another.
    ///
    /// # Errors
    /// Exit 5 where the two differ: the token would go where it must not.
    pub(crate) fn origin(&self, session: &Session) -> Result<Origin, Failure> {
        let (origin, _) = Self::address(&session.endpoint)?;
        let Some(asked) = &self.endpoint else { return Ok(origin) };
        let (asked, _) = Self::address(asked)?;
        if asked == origin {
            return Ok(origin);
        }
        Err(Failure::new(Exit::Unsafe, format!("use the session: it is for '{origin}', not for '{asked}'"))
            .hint(format!("log in there: vertex-login {asked}")))
    }

    /// The TLS options of the login, each replaced by one that was given here.
    pub(crate) fn tls(&self, session: &Session) -> TlsOptions {
        let mut tls = self.tls.clone();
        tls.ca_file = tls.ca_file.or_else(|| session.ca_file.as_ref().map(Into::into));
        tls.insecure |= session.insecure;
        tls
    }
}

/// The command that makes such a session again, for a message.
pub fn login_command(session: &Session) -> String {
    let mut command = format!("vertex-login {}", session.endpoint);
    if let Some(file) = &session.ca_file {
        command.push_str(&format!(" --ca-file {}", scar_tool::shell_word(file)));
    }
    if session.insecure {
        command.push_str(" --insecure");
    }
    if ApiOptions::address(&session.endpoint).is_ok_and(|(origin, _)| origin.is_plain() && !origin.is_loopback()) {
        command.push_str(" --plain-http");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_api_pages_and_of_the_console_are_stripped_and_others_refused() {
        let read = |text: &str| ApiOptions::address(text).map(|(origin, stripped)| (origin.to_string(), stripped));
        assert_eq!(read("https://v.example/v1/").unwrap(), ("https://v.example".to_owned(), Some("v1".to_owned())));
        assert_eq!(read("https://v.example/system").unwrap(), ("https://v.example".to_owned(), Some("system".to_owned())));
        assert_eq!(read("v.example:8443").unwrap(), ("https://v.example:8443".to_owned(), None));
        assert!(read("https://v.example/systems").unwrap_err().message.contains("'/systems'"));
    }
}
