//! Tables in the manner of projects of the field, with their databases in a reduced form.
//!
//! Before the first section of a file in `projects/` are comments.
//!
//! | section | what |
//! | --- | --- |
//! | `== server TYPE` | how the server is filled: SQL, a statement a line, or LDIF |
//! | `== schema` | lines of slapd's configuration |
//! | `== keys` | what every table of the file is asked for, a key a line |
//! | `== table NAME` | the table's file; `SOCKET` and `PORT` in it are the server's |
//! | `== found NAME` | what `postmap -q -` prints and, behind `! `, what it complains of |
//!
//! With `POSTERN_RECORD=1` and Postfix under test what is found is written anew. `POSTERN_PROJECTS=FOLDER` has files of
//! one's own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use conformance::{Instance, MariaDb, Plan, PostgreSql, Slapd, Suite, require};

use super::{can_compare, has_type};

/// A section's title, and its lines.
type Section = (String, Vec<String>);

/// A file, taken apart.
struct Project {
    path: PathBuf,
    head: String,
    sections: Vec<Section>,
}

/// A running server of the kind that a file wants.
enum Server {
    MariaDb(MariaDb),
    PostgreSql(PostgreSql),
    Slapd(Slapd),
}

impl Server {
    fn start(kind: &str, filling: &str, schema: &str) -> Server {
        match kind {
            "mysql" => Server::MariaDb(MariaDb::start(filling).expect("MariaDB")),
            "pgsql" => {
                let logins = "host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n";
                Server::PostgreSql(PostgreSql::start(filling, logins).expect("PostgreSQL"))
            }
            _ => Server::Slapd(Slapd::start(filling, schema).expect("slapd")),
        }
    }

    /// The text with the places of this server.
    fn fill(&self, text: &str) -> String {
        let (socket, port) = match self {
            Server::MariaDb(server) => (server.socket(), server.port()),
            Server::PostgreSql(server) => (server.folder(), server.port()),
            Server::Slapd(server) => (server.socket(), server.port()),
        };
        text.replace("SOCKET", &socket.display().to_string()).replace("PORT", &port.to_string())
    }

    /// What it was asked since it was last told, in order.
    fn queries(&mut self) -> Vec<String> {
        match self {
            Server::MariaDb(server) => server.queries(),
            Server::PostgreSql(server) => server.queries(),
            Server::Slapd(server) => server.searches(),
        }
    }
}

impl Project {
    fn read(path: PathBuf) -> Project {
        let text = fs::read_to_string(&path).expect("a file of the suite");
        let (mut head, mut sections) = (String::new(), Vec::<Section>::new());
        for line in text.lines() {
            match (line.strip_prefix("== "), sections.last_mut()) {
                (Some(title), _) => sections.push((title.to_owned(), Vec::new())),
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => head += &format!("{line}\n"),
            }
        }
        Project { path, head, sections }
    }

    fn kind(&self) -> &str {
        self.sections.iter().find_map(|(title, _)| title.strip_prefix("server ")).expect("a server")
    }

    /// The text of the section whose title begins with this word.
    fn text(&self, word: &str) -> String {
        let section = self.sections.iter().find(|(title, _)| title.split(' ').next() == Some(word));
        section.map_or(String::new(), |(_, lines)| lines.iter().map(|line| format!("{line}\n")).collect())
    }

    fn name(&self) -> String {
        self.path.file_stem().expect("a file").display().to_string()
    }

    /// A table's file.
    fn file(&self, instance: &Instance, table: &str) -> PathBuf {
        instance.home().join(format!("{}-{table}.cf", self.name()))
    }

    /// Writes the tables' files. All at once: Postfix waits for a file that has just changed to settle.
    fn lay_out(&self, server: &Server, instance: &Instance) {
        for (title, lines) in &self.sections {
            if let Some(table) = title.strip_prefix("table ") {
                let text = server.fill(&lines.join("\n")) + "\n";
                fs::write(self.file(instance, table), text).expect("a file of our own");
            }
        }
    }

    fn write(&self) {
        let section = |(title, lines): &Section| {
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            format!("== {title}\n{lines}")
        };
        let sections: String = self.sections.iter().map(section).collect();
        fs::write(&self.path, self.head.clone() + &sections).expect("a file of the suite");
    }

    /// Asks all tables for all keys: what is found is as in the file, and the server is asked the same by both suites.
    fn play(&mut self, server: &mut Server, instance: &Instance, oracle: Option<&Instance>) -> Vec<String> {
        let (kind, keys) = (self.kind().to_owned(), self.text("keys"));
        let project = self.name();
        let records = env::var_os("POSTERN_RECORD").is_some() && Suite::under_test() == Suite::Postfix;
        let mut failures = Vec::new();
        for at in 0..self.sections.len() {
            let Some(table) = self.sections[at].0.strip_prefix("table ").map(str::to_owned) else { continue };
            let named = format!("{kind}:{}", self.file(instance, &table).display());
            let found = ask(instance, &named, &keys);
            let queries = server.queries();
            let title = format!("found {table}");
            let recorded = self.sections.iter().position(|(name, _)| *name == title);
            if records {
                match recorded {
                    Some(at) => self.sections[at].1 = found,
                    None => self.sections.push((title, found)),
                }
                continue;
            }
            let expected = recorded.map_or(&[][..], |at| &self.sections[at].1);
            if found != expected {
                failures.push(format!("{project} {table}: {found:#?}\ninstead of {expected:#?}"));
            }
            if let Some(oracle) = oracle {
                ask(oracle, &named, &keys);
                let expected = server.queries();
                if queries.is_empty() || queries != expected {
                    failures.push(format!("{project} {table}: asks {queries:#?}\ninstead of {expected:#?}"));
                }
            }
        }
        if records {
            self.write();
        }
        failures
    }
}

/// What the table gives for the keys, and what is complained of.
fn ask(instance: &Instance, table: &str, keys: &str) -> Vec<String> {
    let outcome = instance.run_with_input("postmap", &["-q", "-", table], keys.as_bytes());
    let (out, err) = (outcome.out(), outcome.err());
    let without_name = |line: &str| line.split_once(": ").map_or(line, |(_, text)| text).to_owned();
    let complaints = err.lines().map(|line| format!("! {}", without_name(line).replace(table, "TABLE")));
    out.lines().map(str::to_owned).chain(complaints).collect()
}

/// Plays files that share a server.
fn play(mut projects: Vec<Project>) -> Vec<String> {
    let kind = projects[0].kind().to_owned();
    let instance = Plan::new(&format!("projects-{kind}")).prepare();
    if !has_type(&instance, &kind) {
        return Vec::new();
    }
    let filling: String = projects.iter().map(|project| project.text("server")).collect();
    let mut server = Server::start(&kind, &filling, &projects[0].text("schema"));
    for project in &projects {
        project.lay_out(&server, &instance);
    }
    let oracle = (can_compare() && Suite::under_test() != Suite::Postfix)
        .then(|| Plan::for_suite("oracle", Suite::Postfix).prepare());
    projects.iter_mut().flat_map(|project| project.play(&mut server, &instance, oracle.as_ref())).collect()
}

/// The tables of the field. Each directory has a server of its own; databases share one.
#[test]
fn tables_of_the_field() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/databases/projects");
    let folder = env::var_os("POSTERN_PROJECTS").map_or(own, PathBuf::from);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut groups: Vec<Vec<Project>> = Vec::new();
    for project in paths.into_iter().map(Project::read) {
        let fits = |group: &&mut Vec<Project>| group[0].kind() == project.kind() && project.kind() != "ldap";
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(project),
            None => groups.push(vec![project]),
        }
    }
    assert!(!groups.is_empty());
    let failures: Vec<String> = thread::scope(|scope| {
        let started: Vec<_> = groups.into_iter().map(|group| scope.spawn(|| play(group))).collect();
        started.into_iter().flat_map(|group| group.join().expect("a group does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
