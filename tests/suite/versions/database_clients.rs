//! The parameters of tables that ask servers, as `postconf` knows them: in main.cf, and in files of their own.

use std::collections::BTreeSet;
use std::fs;

use super::plans;

/// The clients, and the parameters that each has in this version.
fn clients(minor: u32) -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let mut clients: Vec<(&str, BTreeSet<&str>)> = [
        (
            "ldap",
            "bind bind_dn bind_pw cache cache_expiry cache_size chase_referrals debuglevel dereference domain \
            expansion_limit leaf_result_attribute query_filter recursion_limit result_attribute result_filter \
            result_format sasl_authz_id sasl_mechs sasl_minssf sasl_realm scope search_base server_host \
            server_port size_limit special_result_attribute start_tls terminal_result_attribute timeout \
            tls_ca_cert_dir tls_ca_cert_file tls_cert tls_cipher_suite tls_key tls_random_file tls_require_cert \
            version",
        ),
        (
            "memcache",
            "backup data_size_limit domain flags key_format line_size_limit max_try memcache retry_pause timeout \
            ttl",
        ),
        (
            "mysql",
            "additional_conditions dbname domain expansion_limit hosts option_file option_group password query \
            require_result_set result_format select_field table tls_CAfile tls_CApath tls_cert_file tls_ciphers \
            tls_key_file tls_verify_cert user where_field",
        ),
        (
            "pgsql",
            "additional_conditions dbname domain expansion_limit hosts password query result_format select_field \
            select_function table user where_field",
        ),
        (
            "sqlite",
            "additional_conditions dbpath domain expansion_limit query result_format select_field table \
            where_field",
        ),
        ("mongodb", ""),
    ]
    .map(|(kind, names)| (kind, names.split_whitespace().collect()))
    .into();
    if minor >= 9 {
        let later = [
            ("mysql", "charset idle_interval retry_interval"),
            ("pgsql", "encoding idle_interval retry_interval"),
            (
                "mongodb",
                "collection dbname domain expansion_limit projection query_filter result_attribute result_format uri",
            ),
        ];
        for (kind, names) in later {
            let client = clients.iter_mut().find(|(known, _)| *known == kind).expect("listed");
            client.1.extend(names.split_whitespace());
        }
    }
    clients
}

/// Some client has each of these but the first; a name that nobody knows makes postconf look for similar ones, which takes
/// its time.
const IN_MAIN_CF: [&str; 5] = ["nonsense", "charset", "hosts", "dbpath", "uri"];

/// Names of all clients are set for each of them, in main.cf some: those are unused that are not its own.
#[test]
fn names() {
    for (minor, plan) in plans("database-clients") {
        let clients = clients(minor);
        let all: BTreeSet<&str> = ["nonsense", "charset", "encoding", "uri"]
            .into_iter()
            .chain(clients.iter().flat_map(|(_, names)| names.iter().copied()))
            .collect();
        let instance = plan.prepare();
        let (mut tables, mut settings, mut expected) = (String::new(), String::new(), BTreeSet::new());
        for (kind, names) in &clients {
            let file = instance.home().join(format!("{kind}.cf"));
            fs::write(&file, all.iter().map(|name| format!("{name} = x\n")).collect::<String>())
                .expect("a file of our own");
            tables += &format!(" {kind}:by_{kind} {kind}:{}", file.display());
            for name in IN_MAIN_CF {
                settings += &format!("by_{kind}_{name} = x\n");
                if !names.contains(name) {
                    expected.insert(format!("main.cf: unused parameter: by_{kind}_{name}=x"));
                }
            }
            for name in &all {
                // A type that the version does not have has no files.
                if !names.contains(name) && !names.is_empty() {
                    expected.insert(format!("{kind}.cf: unused parameter: {name}=x"));
                }
            }
        }
        instance.edit_main_cf(|text| format!("{text}canonical_maps ={tables}\n{settings}"));
        let err = instance.run("postconf", &[]).err();
        let unused = err.lines().filter(|line| line.contains("unused parameter: "));
        let seen: BTreeSet<String> = unused
            .map(|line| {
                let line = line.rsplit('/').find(|part| part.contains("unused parameter: ")).unwrap_or(line);
                line.split(" (").next().unwrap_or(line).to_owned()
            })
            .collect();
        let missing: Vec<_> = expected.difference(&seen).collect();
        let excess: Vec<_> = seen.difference(&expected).collect();
        assert!(
            missing.is_empty() && excess.is_empty(),
            "3.{minor}: missing {missing:#?}, too much {excess:#?}"
        );
    }
}
