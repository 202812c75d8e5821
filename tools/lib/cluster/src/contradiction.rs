//! Refuses contradictions in a kubeconfig as kubectl does: guessing which of two settings is meant could disable a check, or
//! log in as somebody else.
//!
//! The rules are those of client-go: tools/clientcmd/validation.go (validateClusterInfo, validateAuthInfo),
//! transport/transport.go (TLSConfigFor), plugin/pkg/client/auth/exec/exec.go (newAuthenticator).

use kube::config::{AuthInfo, Cluster, ExecConfig};
use scar_tool::Failure;

use crate::kubeconfig::Chosen;

/// The versions of the plugin protocol that client-go still speaks.
pub(crate) const PLUGIN_VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// Refuses the first contradiction; `place` names the context, `whose` the user.
pub(crate) fn check(chosen: &Chosen, place: &str, whose: &str) -> Result<(), Failure> {
    let of_cluster = in_cluster(&chosen.cluster).map(|cause| (place, cause));
    let of_user = || in_user(&chosen.user).or_else(|| in_plugin(&chosen.user)).map(|cause| (whose, cause));
    match of_cluster.or_else(of_user) {
        None => Ok(()),
        Some((what, cause)) => {
            Err(Failure::misuse(format!("use {what}: {cause}")).hint("kubectl refuses this kubeconfig, too: correct it"))
        }
    }
}

fn in_cluster(cluster: &Cluster) -> Option<&'static str> {
    let (file, data) = (cluster.certificate_authority.is_some(), cluster.certificate_authority_data.is_some());
    let insecure = cluster.insecure_skip_tls_verify == Some(true);
    first(&[
        (file && data, "it has both certificate-authority and certificate-authority-data"),
        (insecure && (file || data), "it has both a certificate authority and insecure-skip-tls-verify: true"),
    ])
}

fn in_user(user: &AuthInfo) -> Option<&'static str> {
    let (certificate, certificate_data) = (user.client_certificate.is_some(), user.client_certificate_data.is_some());
    let (key, key_data) = (user.client_key.is_some(), user.client_key_data.is_some());
    let basic = user.username.is_some() || user.password.is_some();
    let groups = user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty());
    let extra = user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    // A key without its certificate is unused and harmless.
    let has_certificate = certificate || certificate_data;
    first(&[
        (certificate && certificate_data, "it has both client-certificate and client-certificate-data"),
        (has_certificate && key && key_data, "it has both client-key and client-key-data"),
        (has_certificate && !key && !key_data, "it has a client-certificate without its client-key"),
        (user.token.is_some() && basic, "it has both a token and a username or password"),
        // Refused later, by transport/round_trippers.go (HTTPWrappersForConfig), which checks only the name.
        (user.token_file.is_some() && user.username.is_some(), "it has both a tokenFile and a username"),
        (
            user.impersonate.is_none() && (groups || extra || user.impersonate_uid.is_some()),
            "it has as-uid, as-groups or as-user-extra without as",
        ),
    ])
}

fn in_plugin(user: &AuthInfo) -> Option<&'static str> {
    let ExecConfig { command, api_version, env, interactive_mode, .. } = user.exec.as_ref()?;
    let nameless = |variable: &std::collections::HashMap<String, String>| variable.get("name").is_none_or(String::is_empty);
    first(&[
        (user.auth_provider.is_some(), "it has both an exec plugin and an auth-provider"),
        (command.is_none(), "its exec plugin has no command"),
        (
            !api_version.as_deref().is_some_and(|version| PLUGIN_VERSIONS.contains(&version)),
            "its exec plugin's apiVersion is neither client.authentication.k8s.io/v1 nor …/v1beta1",
        ),
        (env.iter().flatten().any(nameless), "its exec plugin's env has an entry without a name"),
        // v1beta1 defaults to IfAvailable, v1 to nothing (tools/clientcmd/api/v1/defaults.go).
        (
            interactive_mode.is_none() && api_version.as_deref() == Some(PLUGIN_VERSIONS[0]),
            "its exec plugin has no interactiveMode, which version v1 demands",
        ),
    ])
}

fn first(causes: &[(bool, &'static str)]) -> Option<&'static str> {
    causes.iter().find(|(holds, _)| *holds).map(|(_, cause)| *cause)
}
