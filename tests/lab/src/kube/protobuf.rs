//! The only thing that kubectl always sends as protobuf: the self reviews of `kubectl auth`.
//!
//! The envelope is `k8s\0` and a `runtime.Unknown`; the field numbers are those of
//! `k8s.io/api/authorization/v1/generated.proto`. Any other kind is not understood.

use serde_json::{Value, json};

/// Converts a review to JSON.
pub(super) fn review(body: &[u8]) -> Option<Value> {
    let unknown = body.strip_prefix(b"k8s\0")?;
    let kind = text(bytes(bytes(unknown, 1)?, 2)?);
    let raw = bytes(unknown, 2).unwrap_or_default();
    let spec = bytes(raw, 2).unwrap_or_default();
    let words = |message: &[u8], names: &[(u64, &str)]| {
        let mut out = json!({});
        for (number, name) in names {
            out[*name] = json!(bytes(message, *number).map(text).unwrap_or_default());
        }
        out
    };
    let spec = match kind.as_str() {
        "SelfSubjectAccessReview" => {
            let names =
                [(1, "namespace"), (2, "verb"), (3, "group"), (4, "version"), (5, "resource"), (6, "subresource"), (7, "name")];
            json!({"resourceAttributes": words(bytes(spec, 1)?, &names)})
        }
        "SelfSubjectRulesReview" => words(spec, &[(1, "namespace")]),
        "SelfSubjectReview" => json!({}),
        _ => return None,
    };
    Some(json!({"kind": kind, "metadata": {}, "spec": spec}))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first length-delimited field with this number.
fn bytes(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            2 => usize::try_from(varint(&mut message)?).ok()?,
            _ => return None,
        };
        let (field, rest) = message.split_at_checked(length)?;
        if key >> 3 == wanted {
            return Some(field);
        }
        message = rest;
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut out = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        out |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(out);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
    }

    #[test]
    fn an_access_review_is_read_and_anything_else_is_not() {
        let attributes = [field(1, b"ns"), field(2, b"get"), field(5, b"pods"), field(6, b"log")].concat();
        let raw = [field(1, b""), field(2, &field(1, &attributes))].concat();
        let envelope = |kind: &str| {
            let meta = [field(1, b"authorization.k8s.io/v1"), field(2, kind.as_bytes())].concat();
            [b"k8s\0".to_vec(), field(1, &meta), field(2, &raw)].concat()
        };
        let seen = review(&envelope("SelfSubjectAccessReview")).unwrap();
        let asked = &seen["spec"]["resourceAttributes"];
        assert_eq!((&asked["verb"], &asked["subresource"], &asked["name"]), (&json!("get"), &json!("log"), &json!("")));
        assert_eq!(review(&envelope("Secret")), None);
        assert_eq!(review(b"{}"), None);
        let cut = envelope("SelfSubjectAccessReview");
        assert_eq!(review(&cut[..cut.len() - 3]), None);
    }
}
