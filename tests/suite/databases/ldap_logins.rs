//! `ldap` tables: logins by mechanisms of SASL, and parts of a directory that another server has.

use conformance::{Plan, Slapd, Suite, require};

use super::{Case, differences, has_type};

/// Passwords as digests want them, and who is meant by a name.
const LOGINS: &str = "\
password-hash {CLEARTEXT}
authz-regexp \"^uid=([^,]+).*,cn=auth$\" \"cn=$1,dc=example,dc=com\"
";

const ROOT: &str = "dn: dc=example,dc=com\nobjectClass: domain\ndc: example\n\n\
    dn: cn=post,dc=example,dc=com\nobjectClass: person\ncn: post\nsn: post\nuserPassword: geheim\n\n";

fn person(name: &str, below: &str, maildrop: &str) -> String {
    format!(
        "dn: uid={name},{below}dc=example,dc=com\nobjectClass: account\nobjectClass: mailUser\nuid: {name}\n\
         mail: {name}@example.com\nmaildrop: {maildrop}\n\n"
    )
}

fn part(name: &str, urls: &[String]) -> String {
    let head = format!(
        "dn: ou={name},dc=example,dc=com\nobjectClass: referral\nobjectClass: extensibleObject\nou: {name}\n"
    );
    head + &urls.iter().map(|url| format!("ref: {url}\n")).collect::<String>() + "\n"
}

#[test]
fn mechanisms_and_referrals() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = Plan::new("ldap-logins").prepare();
    require!(has_type(&instance, "ldap"), "no ldap tables in this build");
    let far = "dn: ou=far,dc=example,dc=com\nobjectClass: organizationalUnit\nou: far\n\n";
    let entries = [ROOT, far, &person("joe", "ou=far,", "joe@far"), &person("ann", "ou=far,", "ann@far")];
    let other = Slapd::start(&entries.concat(), "").expect("slapd");
    let far = format!("ldap://127.0.0.1:{}/ou=far,dc=example,dc=com", other.port());
    let dead = "ldap://127.0.0.1:1/ou=far,dc=example,dc=com".to_owned();
    let entries = [
        ROOT,
        &person("joe", "", "joe@here"),
        "dn: dc=two,dc=example,dc=com\nobjectClass: domain\ndc: two\n\n",
        &person("joe", "dc=two,", "joe@two"),
        &part("far", std::slice::from_ref(&far)),
        &part("near,dc=two", &[dead.clone(), far]),
        &part("dead", &[dead]),
    ];
    let server =
        Slapd::start(&entries.concat().replace("ou: near,dc=two", "ou: near"), LOGINS).expect("slapd");
    let base = |name: &str| format!("search_base = {name}dc=example,dc=com\n");
    let chasing = |name: &str| base(name) + "chase_referrals = yes\n";
    let by = |mechanisms: &str| {
        format!(
            "search_base = dc=two,dc=example,dc=com\nbind = sasl\nbind_dn = post\nbind_pw = geheim\nsasl_mechs = {mechanisms}\n"
        )
    };
    let with = |settings: &str, more: &str| format!("{settings}{more}\n");
    let wrong = |mechanism: &str, name: &str| {
        format!(
            "search_base = dc=two,dc=example,dc=com\nbind = sasl\nbind_dn = {name}\nbind_pw = wrong\nsasl_mechs = {mechanism}\n"
        )
    };
    let referral = "warning: dict_ldap_lookup: Search error 10: Referral \n";
    let refused = "with dn post: 49 (Invalid credentials)\n";
    let unknown = "with dn nobody: 80 (Other (e.g., implementation specific) error)\n";
    let none = "with dn post: -6 (Unknown authentication method)\n";
    let cases = [
        (base("dc=two,"), "joe", "joe@two\n", ""),
        (base("ou=far,"), "joe", "", referral),
        (chasing("ou=far,"), "joe", "joe@far\n", ""),
        (chasing("ou=far,"), "nobody", "", ""),
        (chasing("ou=dead,"), "joe", "", referral),
        (chasing("dc=two,"), "joe", "joe@two,joe@far\n", ""),
        (chasing("dc=two,"), "ann", "ann@far\n", ""),
        (chasing(""), "joe", "joe@here,joe@two,joe@far\n", ""),
        (base(""), "joe", "joe@here,joe@two\n", ""),
        (with(&chasing("uid=ann,ou=far,"), "scope = base"), "ann", "ann@far\n", ""),
        (with(&chasing("uid=bob,ou=far,"), "scope = base"), "ann", "", "not found: 32: No such object\n"),
        (with(&chasing("ou=far,"), "scope = one"), "ann", "ann@far\n", ""),
        (with(&chasing("dc=two,"), "scope = one"), "ann", "", ""),
        (by("DIGEST-MD5"), "joe", "joe@two\n", ""),
        (by("digest-md5"), "joe", "joe@two\n", ""),
        (by("CRAM-MD5"), "joe", "joe@two\n", ""),
        (by("SCRAM-SHA-1"), "joe", "joe@two\n", ""),
        (by("SCRAM-SHA-256 CRAM-MD5"), "joe", "joe@two\n", ""),
        (by("GSSAPI DIGEST-MD5"), "joe", "joe@two\n", ""),
        (by(""), "joe", "joe@two\n", ""),
        (by("LOGIN"), "joe", "", none),
        (by("PLAIN"), "joe", "", none),
        (wrong("DIGEST-MD5", "post"), "joe", "", refused),
        (wrong("CRAM-MD5", "post"), "joe", "", refused),
        (wrong("SCRAM-SHA-1", "post"), "joe", "", refused),
        (wrong("DIGEST-MD5", "nobody"), "joe", "", unknown),
        (wrong("DIGEST-MD5", ""), "joe", "", "with dn empty or implicit: -2 (Local error)\n"),
        (with(&by("DIGEST-MD5"), "sasl_realm = other"), "joe", "joe@two\n", ""),
        (with(&by("DIGEST-MD5"), "sasl_authz_id = dn:cn=post,dc=example,dc=com"), "joe", "joe@two\n", ""),
        (with(&by("SCRAM-SHA-1"), "sasl_authz_id = dn:cn=post,dc=example,dc=com"), "joe", "joe@two\n", ""),
        (
            with(&by("DIGEST-MD5"), "sasl_authz_id = u:joe"),
            "joe",
            "",
            "with dn post: 50 (Insufficient access)\n",
        ),
    ];
    let cases: Vec<Case<'_>> =
        cases.iter().map(|(settings, key, out, err)| (&settings[..], *key, *out, *err)).collect();
    let settings = format!(
        "server_host = ldap://127.0.0.1:{}\nversion = 3\nquery_filter = mail=%s@example.com\n",
        server.port()
    );
    let failures = differences(&instance, "ldap", &settings, &cases);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
