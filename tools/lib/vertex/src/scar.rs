//! The SCAR setting of VerteX (`/v1/system/config/scar`; guide, steps 10 to 12): reading, comparing, validating.
//!
//! The server may omit empty fields, normalize values, and hide the password. So settings are compared by meaning, and a
//! hidden password never counts as a value.

use scar_http::{Error, Url};
use scar_record::Previous;
use scar_tool::{Exit, Failure};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::difference::without_userinfo;
use crate::{Api, Change, Object, is_mask};

/// The setting's path in the API.
pub const PATH: &str = "/v1/system/config/scar";
/// Specman's address in the cluster, which the guide's script sets (step 10).
pub const SPECMAN: &str = "https://specman-service.hubble-system.svc.cluster.local:8443";

// v1SystemScarSpec in the API's public description. The guide's script (step 10) sends only the first three; a PUT without the
// others could lose them.
const ENDPOINT: &str = "endpoint";
const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const CA_CERT: &str = "caCert";
const INSECURE: &str = "insecureVerify";
const BASE: &str = "baseContentPath";
const TEXTS: [&str; 3] = [USERNAME, CA_CERT, BASE];

/// The types of the fields; null is as if absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only the types count")]
struct Spec {
    endpoint: String,
    username: Option<String>,
    password: Option<String>,
    ca_cert: Option<String>,
    insecure_verify: Option<bool>,
    base_content_path: Option<String>,
}

/// A SCAR setting, as the server showed it or as it should be.
#[derive(Debug, Clone)]
pub struct Setting(Object);

impl Setting {
    /// Takes an object as a setting.
    pub fn new(object: Object) -> Self {
        Self(object)
    }

    /// Accepts VerteX's answer if it has the documented shape (`v1SystemScarSpec`): an object with an endpoint, and only
    /// plausible values in the other fields. An error object, or an empty one, is not a setting; overwriting it would lose
    /// the real setting. The error describes the answer, without its values.
    pub fn parse(text: &str) -> Result<Self, String> {
        let object = Object::parse(text)?;
        object.never_show_secrets();
        match serde_json::from_str::<Spec>(text) {
            Ok(_) => Ok(Self(object)),
            Err(_) => Err("an object of another form".to_owned()),
        }
    }

    /// What the guide's script sets, with additions from the options.
    pub fn target(endpoint: &str, ca_cert: Option<&str>, insecure: bool, base: Option<&str>) -> Self {
        let mut object = Object::default();
        object.set(&[ENDPOINT], &endpoint);
        // Empty, not absent, as in the guide's script (step 10): the file server's login must not stay.
        object.set(&[PASSWORD], &"");
        object.set(&[USERNAME], &"");
        if let Some(ca_cert) = ca_cert {
            object.set(&[CA_CERT], &ca_cert);
        }
        if insecure {
            object.set(&[INSECURE], &true);
        }
        if let Some(base) = base {
            object.set(&[BASE], &base);
        }
        Self(object)
    }

    /// Reads the current setting. Exit 7 if the answer is not a setting.
    pub async fn read(api: &Api) -> Result<Self, Failure> {
        Self::read_or(api, |_| Ok(None)).await
    }

    /// The same. An answer that is not a setting is passed to `keep`, which may return where it saved it.
    pub async fn read_or(api: &Api, keep: impl Fn(&str) -> Result<Option<String>, Failure>) -> Result<Self, Failure> {
        let act = "read the SCAR setting";
        // Unparsed: what is not a setting is saved as it was sent, before anybody decides what it is (FAULTS Q7).
        let text = api.get_text(PATH).await.map_err(|error| api.failure(act, &error))?;
        Self::parse(&text).or_else(|is| {
            let failure = Failure::new(Exit::Mismatch, format!("{act}: the answer is not a SCAR setting: it is {is}"));
            Err(keep(&text)?
                .into_iter()
                .fold(failure, |failure, line| failure.detail(line))
                .hint(format!("nothing was written; is {}{PATH} really VerteX, and not a proxy in front of it?", api.origin())))
        })
    }

    /// The object with all its fields.
    pub fn object(&self) -> &Object {
        &self.0
    }

    /// The endpoint as it may be shown, without a login.
    pub fn endpoint(&self) -> String {
        without_userinfo(&self.0.text_or_empty(&[ENDPOINT]))
    }

    /// The user name, if there is one.
    pub fn username(&self) -> Option<String> {
        self.0.text(&[USERNAME]).filter(|text| !text.is_empty())
    }

    /// Whether the server hides a password: it shows a mask, or nothing although there is a user name.
    pub fn hides_its_password(&self) -> bool {
        let password = self.0.text_or_empty(&[PASSWORD]);
        is_mask(&password) || password.is_empty() && self.username().is_some()
    }

    /// Another field that the server masks, and that cannot be written back.
    pub fn masked_field(&self) -> Option<&'static str> {
        TEXTS.into_iter().find(|name| is_mask(&self.0.text_or_empty(&[name])))
    }

    /// The setting with this password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.0.set(&[PASSWORD], &password);
        self
    }

    /// The part for the record, without secrets.
    pub fn previous(&self) -> Previous {
        let text = |name: &str| self.0.text(&[name]).filter(|text| !text.is_empty());
        Previous {
            endpoint: self.endpoint(),
            username: self.username(),
            base_content_path: text(BASE),
            insecure_verify: self.0.flag(&[INSECURE]),
            has_ca_cert: text(CA_CERT).is_some(),
            has_password: text(PASSWORD).is_some() || self.username().is_some(),
        }
    }

    /// The differences from `wanted` by meaning, in the fields of the API's description; the password only if both are
    /// known.
    pub fn differences_from(&self, wanted: &Self) -> Vec<Change> {
        let differs = |name: &&str| self.meaning(name) != wanted.meaning(name);
        let change =
            |name: &str| Change { path: name.to_owned(), secret: false, before: self.shown(name), after: wanted.shown(name) };
        let fields = [ENDPOINT, USERNAME, CA_CERT, BASE, INSECURE];
        let mut changes: Vec<_> = fields.into_iter().filter(differs).map(change).collect();
        let (before, after) = (self.0.text_or_empty(&[PASSWORD]), wanted.0.text_or_empty(&[PASSWORD]));
        // A hidden password cannot be compared. It is not a difference, or every write would look failed.
        let is_known = !is_mask(&before) && !is_mask(&after) && !self.hides_its_password() && !wanted.hides_its_password();
        if before != after && is_known {
            let shown = |text: &str| if text.is_empty() { "(none)".to_owned() } else { "(not shown)".to_owned() };
            let (before, after) = (shown(&before), shown(&after));
            changes.push(Change { path: PASSWORD.to_owned(), secret: true, before, after });
        }
        changes
    }

    /// A field by its meaning: PEM by its lines, a path without its outer slashes, an address without a final one.
    fn meaning(&self, name: &str) -> String {
        let text = self.0.text_or_empty(&[name]);
        match name {
            INSECURE => self.0.flag(&[INSECURE]).to_string(),
            ENDPOINT => Url::parse(&text).map_or(text, String::from).trim().trim_end_matches('/').to_owned(),
            CA_CERT => text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
            BASE => text.trim_matches('/').to_owned(),
            _ => text,
        }
    }

    /// A field as it may be shown.
    fn shown(&self, name: &str) -> String {
        let text = self.0.text_or_empty(&[name]);
        match name {
            INSECURE => self.0.flag(&[INSECURE]).to_string(),
            _ if text.is_empty() => "(none)".to_owned(),
            CA_CERT => format!("(PEM, {} bytes)", text.len()),
            _ => format!("'{}'", without_userinfo(&text)),
        }
    }

    /// The other fields that differ in `now`; a server may change some itself, such as a timestamp.
    pub fn changed_unknown_fields(&self, now: &Self) -> Vec<Change> {
        let (mut sent, mut kept) = (Object::default(), Object::default());
        for (name, value) in self.0.fields().filter(|(name, _)| !is_described(name)) {
            sent.set(&[name], &value);
            if let Some(value) = now.0.raw(&[name]) {
                kept.set(&[name], &value);
            }
        }
        crate::differences(&sent, &kept, &[])
    }

    /// Whether both have the same endpoint.
    pub fn same_endpoint(&self, other: &Self) -> bool {
        self.meaning(ENDPOINT) == other.meaning(ENDPOINT)
    }

    /// Whether it has the same meaning as `wanted`.
    pub fn matches(&self, wanted: &Self) -> bool {
        self.differences_from(wanted).is_empty()
    }

    /// The fields that are not in the API's description, and that writing another setting drops.
    pub fn unknown_fields(&self) -> Vec<String> {
        let empty = |value: &RawValue| matches!(value.get(), "null" | "\"\"" | "false");
        self.0.fields().filter(|(name, value)| !is_described(name) && !empty(value)).map(|(name, _)| name.to_owned()).collect()
    }
}

/// Whether the API's description has this field.
fn is_described(name: &str) -> bool {
    [ENDPOINT, PASSWORD, INSECURE].contains(&name) || TEXTS.contains(&name)
}

/// Asks VerteX once to validate its SCAR setting; returns the version that the endpoint serves. The documented answer
/// (`v1SystemScarValidationResponse`) has only that field, so an object without it does not count as success.
pub async fn validate(api: &Api) -> Result<String, Error> {
    const VALIDATE: &str = "/v1/system/config/scar/validate";
    let version = api.get_once(VALIDATE).await?.text(&["spectroVersion"]).filter(|version| !version.is_empty());
    let request = format!("GET {}{VALIDATE}", api.origin());
    version.ok_or_else(|| Error::malformed(request, "the answer has no 'spectroVersion'".to_owned()))
}

/// The installed version of VerteX, if it says so.
pub async fn installed(api: &Api) -> Result<Option<String>, Error> {
    let answer = api.get("/v1/system/version/installed").await?;
    Ok(answer.text(&["version"]).filter(|version| !version.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Setting {
        Setting(Object::parse(text).unwrap())
    }

    #[test]
    fn the_body_is_the_guides_with_nothing_added_unasked() {
        let target = Setting::target(SPECMAN, None, false, None);
        let body = r#"{"endpoint":"https://specman-service.hubble-system.svc.cluster.local:8443","password":"","username":""}"#;
        assert_eq!(target.object().to_json(), body);
        let target = Setting::target("https://x", Some("PEM"), true, Some("/c"));
        assert!(target.object().to_json().ends_with(r#""caCert":"PEM","insecureVerify":true,"baseContentPath":"/c"}"#));
    }

    #[test]
    fn q7_only_the_documented_shape_is_a_setting() {
        for text in [r#"{"endpoint":""}"#, r#"{"endpoint":"https://a","caCert":null,"insecureVerify":true,"later":[1]}"#] {
            assert!(Setting::parse(text).is_ok(), "{text}");
        }
        for text in [
            "{}",
            "[]",
            "null",
            r#"{"code":"Busy","message":"later"}"#,
            r#"{"endpoint":5}"#,
            r#"{"endpoint":null}"#,
            r#"{"endpoint":"https://a","password":["canary"]}"#,
            r#"{"endpoint":"https://a","insecureVerify":"canary"}"#,
            r#"{"endpoint":"https://a","endpoint":"canary"}"#,
        ] {
            let is = Setting::parse(text).unwrap_err();
            assert!(!is.contains("canary"), "{text}: {is}");
        }
    }

    #[test]
    fn settings_are_compared_by_what_they_mean() {
        let target = Setting::target(SPECMAN, None, false, None);
        for same in [
            format!(r#"{{"endpoint":"{SPECMAN}"}}"#),
            format!(r#"{{"endpoint":"{SPECMAN}/","insecureVerify":false,"caCert":"","baseContentPath":"/","password":"***"}}"#),
            format!(r#"{{"endpoint":"{SPECMAN}","new":1}}"#),
        ] {
            assert!(setting(&same).matches(&target), "{same}");
        }
        let old = setting(r#"{"endpoint":"https://u:canary@old","username":"scar","password":"canary","insecureVerify":true}"#);
        let lines: Vec<_> = old.differences_from(&target).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                format!("endpoint: 'https://old' -> '{SPECMAN}'"),
                "username: 'scar' -> (none)".to_owned(),
                "insecureVerify: true -> false".to_owned(),
                "password: (not shown) -> (none)".to_owned(),
            ]
        );
    }

    #[test]
    fn what_the_description_does_not_have_is_distinguished() {
        let old = setting(r#"{"endpoint":"https://old","updatedAt":"2024-12-06T12:43:14Z","note":1.50}"#);
        let now = setting(r#"{"endpoint":"https://old","updatedAt":"2024-12-06T13:00:00Z","added":true}"#);
        assert!(now.matches(&old));
        let lines: Vec<_> = old.changed_unknown_fields(&now).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["updatedAt: '2024-12-06T12:43:14Z' -> '2024-12-06T13:00:00Z'", "note: 1.50 -> (absent)"]);
    }

    #[test]
    fn a_hidden_password_is_known_as_hidden_and_compared_with_nothing() {
        for hidden in [r#"{"password":"***"}"#, r#"{"username":"u","password":""}"#, r#"{"username":"u"}"#] {
            assert!(setting(hidden).hides_its_password(), "{hidden}");
        }
        for shown in [r#"{"username":"u","password":"pw"}"#, r#"{"password":""}"#, "{}"] {
            assert!(!setting(shown).hides_its_password(), "{shown}");
        }
        let restored = setting(r#"{"endpoint":"https://old","username":"u","password":"pw"}"#);
        assert!(setting(r#"{"endpoint":"https://old","username":"u"}"#).matches(&restored));
        assert!(!setting(r#"{"endpoint":"https://old","username":"u","password":"other"}"#).matches(&restored));
    }

    #[test]
    fn what_the_record_keeps_holds_no_secret() {
        let old = setting(r#"{"endpoint":"https://u:canary@old/x","password":"canary","caCert":"canary","username":"u"}"#);
        let kept = format!("{:?}", old.previous());
        assert!(!kept.contains("canary") && kept.contains("https://old/x"), "{kept}");
    }
}
