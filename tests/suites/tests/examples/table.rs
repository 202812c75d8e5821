//! The files that examples need, and the few examples that no test runs.

/// Specman's address, which the guide sets.
pub(crate) const SPECMAN: &str = "https://specman-service.hubble-system.svc.cluster.local:8443";

/// Files that examples read, each with the commands that create it; one may read another.
pub(crate) const FILES: [(&str, &str); 26] = [
    ("manifests.tgz", "mkmanifests /var/www/html >archive.json"),
    ("push.json", "mkmanifests /var/www/html | ocipush harbor.example >push.json"),
    (
        "flag.json",
        "vertex-login https://vertex.example <push.json |
        pack-registry-set -u robot --password-file harbor.password --drop-session >flag.json",
    ),
    (
        "entry.json",
        "vertex-login https://vertex.example <push.json |
        pack-registry-set -u robot --password-file harbor.password --backup entry.json >flag.json",
    ),
    ("wait.json", "specman-wait <flag.json >wait.json"),
    ("verify.json", "specman-verify <wait.json >verify.json"),
    (
        "record.json",
        "scar-secret-rm | mkmanifests /var/www/html | ocipush harbor.example |
        vertex-login https://vertex.example pack-registry-set -u robot --password-file harbor.password --drop-session |
        specman-wait | specman-verify | vertex-login https://vertex.example scar-set >record.json",
    ),
    ("scar-backup.json", "vertex-login https://vertex.example <verify.json | scar-set --backup scar-backup.json >record.json"),
    ("tag.json", "ocipush harbor.example manifests.tgz --backup tag.json >push.json"),
    ("/root/registry-secret.json", "scar-secret-rm --backup /root/registry-secret.json >secret-record.json"),
    ("/root/harbor.password", "cp \"$HARBOR_PASSWORD_FILE\" /root/harbor.password"),
    ("/root/ecr.password", "ecr-password --region us-east-1 >/root/ecr.password"),
    ("/root/ecr.id", "printf AKIAEXAMPLES >/root/ecr.id"),
    ("/root/ecr.key", "printf examples >/root/ecr.key"),
    ("/root/vertex.password", "cp \"$VERTEX_PASSWORD_FILE\" /root/vertex.password"),
    ("/root/vertex.kubeconfig", "cp \"$KUBECONFIG\" /root/vertex.kubeconfig"),
    (
        "sites",
        "mkdir north; printf '%s\\n' SCAR_CONTENT=/var/www/html OCI_PACK_REGISTRY=harbor.example \\
        OCI_USERNAME=robot OCI_PASSWORD_FILE=\"$HARBOR_PASSWORD_FILE\" VERTEX_ENDPOINT=https://vertex.example VERTEX_PASSWORD_FILE=\"$VERTEX_PASSWORD_FILE\" KUBECONFIG=\"$KUBECONFIG\" \\
        >north/site.conf; echo north >sites",
    ),
    ("harbor.password", "cp \"$HARBOR_PASSWORD_FILE\" harbor.password"),
    ("vertex.password", "cp \"$VERTEX_PASSWORD_FILE\" vertex.password"),
    ("scar.password", "cp \"$OLD_SCAR_PASSWORD_FILE\" scar.password"),
    ("vertex.pem", "cp \"$SSL_CERT_FILE\" vertex.pem"),
    ("id", "printf AKIAEXAMPLES >id"),
    ("key", "printf examples >key"),
    ("admin.kubeconfig", "cp \"$KUBECONFIG\" admin.kubeconfig"),
    ("specman.pem", "cp \"$SSL_CERT_FILE\" specman.pem"),
    ("token", "umask 077; vertex-login https://vertex.example | sed 's/.*\"authorization\":\"\\([^\"]*\\)\".*/\\1/' >token"),
];

/// Examples that need a prepared site: page, beginning of the text, the commands that prepare it.
pub(crate) const BEFORE: [(&str, &str, &str); 3] = [
    ("specman-wait.1", "specman-wait --new-record", "test -s record.json"),
    ("specman-verify.1", "specman-verify --new-record", "test -s record.json"),
    ("scar-get.1", "vertex-login https://vertex.example |\n  scar-get --validate --expect", "test -s record.json"),
];

/// Not run: there is no package of ORAS v1.0.0 (skopeo's command beside it is run), and no second host.
pub(crate) const NOT_RUN: [(&str, &str); 2] = [
    ("scar-tools.7", "oras push \\\n  harbor.example/spectro-packs/spectro-manifests/manifest:0.0.0 \\\n  manifests.tgz"),
    (
        "scar-tools.7",
        "parallel --sshloginfile hosts --nonall --tag \\\n  'scar-migrate -c site.conf --yes >/dev/null;\n   \
         tail -n 1 .local/state/scar-tools/scar-migrate.log'",
    ),
];

/// Displays that are not commands: page and beginning.
pub(crate) const SHOWN: [(&str, &str); 1] = [("scar-record.5", "{\n  \"record\": \"scar-tools/1\"")];

/// README's commands that another test covers: the section, the block's beginning, and that test.
pub(crate) const HELD_ELSEWHERE: [(&str, &str, &str); 2] = [
    ("", "shell/rehearse", "suite rehearsal; shell/test is what .ci/run calls"),
    ("Install on an airgapped host", "", "shell/dist-check"),
];
