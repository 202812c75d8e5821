//! The options of all tools that use a session, and the commands that messages suggest.

use std::time::Duration;

use scar_http::Origin;
use scar_record::Session;
use scar_tool::{Exit, Failure, Prefix};
use scar_trust::{RouteOptions, TlsOptions};

/// How to reach VerteX, and the time limit. A session in the record contains all of it, so no option is needed.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "VerteX options")]
pub struct ApiOptions {
    /// Require that the session is for ENDPOINT
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,

    /// Time limit for all answers of VerteX together
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = scar_tool::time_limit)]
    pub timeout: Duration,

    /// The certificates to trust, if other than at the login.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// The route to VerteX.
    #[command(flatten)]
    pub route: RouteOptions,
}

impl ApiOptions {
    /// Parses the address of VerteX as typed, and returns what was stripped: the `/v1` of API documentation, or the
    /// `/system` of the console's address.
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
}

/// The origin of a session, which must be the one that was `asked` for. Exit 5 if the two differ: the token would go to
/// another server.
pub fn session_origin(session: &Session, asked: Option<&Origin>) -> Result<Origin, Failure> {
    let (origin, _) = ApiOptions::address(&session.endpoint)?;
    match asked {
        Some(asked) if *asked != origin => {
            Err(Failure::new(Exit::Unsafe, format!("use the session: it is for '{origin}', not for '{asked}'"))
                .hint(format!("log in there: vertex-login {asked}")))
        }
        _ => Ok(origin),
    }
}

/// The login's TLS options, overridden by the ones in `tls`.
pub fn session_tls<P: Prefix>(tls: &TlsOptions<P>, session: &Session) -> TlsOptions<P> {
    let mut tls = tls.clone();
    tls.ca_file = tls.ca_file.or_else(|| session.ca_file.as_ref().map(Into::into));
    tls.insecure |= session.insecure;
    tls
}

/// The command that creates such a session again, for messages.
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
