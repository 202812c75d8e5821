//! The failure without credentials: lists where they were looked for, in the order of the SDK (aws-config
//! src/default_provider/credentials.rs).

use std::path::PathBuf;

use scar_tool::{Exit, Failure};

/// Builds the failure; `variable` reads a variable, `exists` checks for a file.
pub(crate) fn failure(act: &str, variable: impl Fn(&str) -> Option<String>, exists: impl Fn(&str) -> bool) -> Failure {
    let mut failure = Failure::new(Exit::Refused, format!("{act}: none found"))
        .hint("set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run on an instance or in a pod with a role");
    for line in places(variable, exists) {
        failure = failure.detail(line);
    }
    failure
}

fn places(variable: impl Fn(&str) -> Option<String>, exists: impl Fn(&str) -> bool) -> [String; 5] {
    let unset = |names: &[&str]| {
        let unset: Vec<&str> = names.iter().copied().filter(|name| variable(name).is_none()).collect();
        match unset.as_slice() {
            [] => format!("{} gave none", names.join(", ")),
            [one] => format!("{one} is not set"),
            several => format!("{} are not set", several.join(", ")),
        }
    };
    let file = |name: &str, standard: &str| {
        let home = variable("HOME").map_or_else(|| PathBuf::from("~"), PathBuf::from);
        let path = variable(name).unwrap_or_else(|| home.join(standard).display().to_string());
        let state = if exists(&path) { "holds none" } else { "is not there" };
        format!("'{path}' {state}")
    };
    let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let (config, credentials) = (file("AWS_CONFIG_FILE", ".aws/config"), file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"));
    let metadata = match variable("AWS_EC2_METADATA_DISABLED") {
        Some(set) if set.eq_ignore_ascii_case("true") => "turned off by AWS_EC2_METADATA_DISABLED".to_owned(),
        _ => {
            let endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
            format!("'{endpoint}' gave none")
        }
    };
    [
        format!("environment: {}", unset(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])),
        format!("profile '{profile}': {config}, {credentials}"),
        format!("web identity: {}", unset(&["AWS_WEB_IDENTITY_TOKEN_FILE"])),
        match ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
            names if names.iter().any(|name| variable(name).is_some()) => "container: it gave none".to_owned(),
            names => format!("container: {}", unset(&names)),
        },
        format!("instance metadata: {metadata}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'v>(variables: &'v [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'v {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn e1_every_place_is_named_as_it_is() {
        let nothing = places(set(&[("HOME", "/root")]), |_| false);
        assert_eq!(
            nothing,
            [
                "environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY are not set",
                "profile 'default': '/root/.aws/config' is not there, '/root/.aws/credentials' is not there",
                "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
                "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI are not set",
                "instance metadata: 'http://169.254.169.254' gave none",
            ]
        );
        let half = [
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_PROFILE", "site"),
            ("AWS_CONFIG_FILE", "/c"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/"),
            ("AWS_EC2_METADATA_DISABLED", "TRUE"),
        ];
        let half = places(set(&half), |path| path == "/c");
        assert_eq!(half[0], "environment: AWS_SECRET_ACCESS_KEY is not set");
        assert_eq!(half[1], "profile 'site': '/c' holds none, '~/.aws/credentials' is not there");
        assert_eq!(half[3], "container: it gave none");
        assert_eq!(half[4], "instance metadata: turned off by AWS_EC2_METADATA_DISABLED");
    }
}
