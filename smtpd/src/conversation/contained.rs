//! A panic in one of several sessions of a process ends that session: the client gets 421, and what the session had
//! open is given up. A process with one session ends, as the hook that logs panics does not return there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use access::replies;

use crate::conversation::wire::Stream;
use crate::session::Session;

/// Runs a session; a panic in it has been logged by the hook when it arrives here.
pub(crate) fn contained(
    session: &mut Session<'_, '_>,
    stream: &mut Stream,
    run: impl FnOnce(&mut Session<'_, '_>, &mut Stream),
) {
    // What the session leaves behind half done is only given up, never used.
    if catch_unwind(AssertUnwindSafe(|| run(session, stream))).is_ok() {
        return;
    }
    let text = replies::internal_error(&session.params.access.myhostname);
    let _ = stream.write(text.as_bytes()).and_then(|()| stream.flush());
    session.abandon();
    session.forget_connection();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use config::{Config, ConfigDir};
    use server::Permits;

    use super::contained;
    use crate::conversation::wire::Wire;
    use crate::conversation::{self, Stream};
    use crate::services::Services;
    use crate::services::permits::Work;
    use crate::session::standing::Standing;
    use crate::session::{Pending, Session, Step};
    use crate::settings::params::SmtpdParams;
    use crate::tables::Tables;
    use crate::transaction::phase::Phase;
    use access::client::Client;
    use access::observer::{Event, Observer};

    /// Watches the restrictions, and has a defect that one HELO name brings out.
    #[derive(Debug)]
    struct Defective;

    impl Observer for Defective {
        fn event(&self, event: &Event<'_>) {
            if let Event::List { name: b"defect.example.net", .. } = event {
                panic!("a defect");
            }
        }
    }

    const MAIN_CF: &str = "myhostname = mx.example.com
inet_interfaces = 127.0.0.1
mail_owner = daemon
setgid_group = mail
local_recipient_maps =
smtpd_delay_reject = no
smtpd_helo_restrictions = permit
smtpd_client_connection_count_limit = 0
smtpd_forbid_unauth_pipelining = no
";

    /// What sessions need that talk to no other daemon.
    struct Server {
        params: SmtpdParams,
        tables: Tables,
        services: Services,
    }

    impl Server {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("postern-{test}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("main.cf"), MAIN_CF).unwrap();
            fs::write(folder.join("master.cf"), "").unwrap();
            let config = Config::load("smtpd", &ConfigDir::new(&folder), &[]).unwrap();
            let params = SmtpdParams::new(&config).unwrap();
            let tables = Tables::open(&params).unwrap();
            let services = Services::new(&config, &params, "smtp").unwrap();
            fs::remove_dir_all(folder).unwrap();
            Self { params, tables, services }
        }

        /// What stands in a session that begins.
        fn standing<'a>(&'a self, permits: &'a Permits) -> Standing<'a> {
            let peer = Client::local("127.0.0.1");
            let mut standing = Standing::new(&self.params, &self.tables, &self.services, peer);
            standing.work = Work::begin(permits).unwrap();
            standing
        }

        /// What a client is told who says this.
        fn answers(&self, commands: &str) -> String {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let socket = Wire::socket(listener.accept().unwrap().0.into());
            let mut stream = Stream::new(socket, conversation::time_limit(&self.params)).unwrap();
            client.write_all(commands.as_bytes()).unwrap();
            let permits = Permits::new(1, Duration::from_secs(60));
            let mut standing = self.standing(&permits);
            standing.observer = Some(&Defective);
            standing.behind_front_end = true;
            let mut phase = Phase::default();
            let mut session = Session::new(&mut standing, &mut phase);
            contained(&mut session, &mut stream, conversation::serve);
            drop((standing, stream));
            assert!(permits.take().is_some(), "nothing is left behind");
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            said
        }
    }

    #[test]
    fn a_panic_ends_the_session_with_421() {
        let server = Server::new("contained");
        assert_eq!(
            server.answers("HELO defect.example.net\r\n"),
            "220 mx.example.com ESMTP Postfix\r\n421 4.3.0 mx.example.com Error: internal error\r\n"
        );
        let said = server.answers("HELO client.example.net\r\nQUIT\r\n");
        assert!(said.ends_with("\r\n250 mx.example.com\r\n221 2.0.0 Bye\r\n"), "{said}");
    }

    struct Nothing;

    impl Pending for Nothing {
        fn pending(&mut self) -> Vec<u8> {
            Vec::new()
        }
    }

    /// Says this, and waits for the next command.
    fn say(session: &mut Session<'_, '_>, line: &str) -> (String, Step) {
        let step = session.command(line.as_bytes(), &mut Nothing);
        session.rest();
        (String::from_utf8(std::mem::take(&mut session.replies.text)).unwrap(), step)
    }

    #[test]
    fn a_permit_is_held_for_a_transaction_and_asked_for_once() {
        let server = Server::new("work");
        let permits = Permits::new(1, Duration::from_millis(20));
        let (mut standing, mut phase) = (server.standing(&permits), Phase::default());
        let mut one = Session::new(&mut standing, &mut phase);
        one.rest();
        let (mut other_standing, mut phase) = (server.standing(&permits), Phase::default());
        let mut other = Session::new(&mut other_standing, &mut phase);
        other.rest();
        let ok = "250 2.1.0 Ok\r\n";
        let none = "452 4.3.1 Insufficient system storage\r\n";
        let end = "421 4.3.0 mx.example.com Server local error\r\n";
        assert_eq!(say(&mut one, "MAIL FROM:<>").0, ok);
        assert_eq!(say(&mut other, "MAIL FROM:<>"), (none.into(), Step::Next));
        assert_eq!(say(&mut other, "NOOP").0, "250 2.0.0 Ok\r\n");
        assert_eq!(say(&mut one, "HELO client.example.net").0, "250 mx.example.com\r\n");
        assert_eq!(say(&mut other, "MAIL FROM:<>").0, ok, "HELO has ended the transaction");
        assert_eq!(say(&mut one, "MAIL FROM:<>").0, none);
        assert_eq!(say(&mut one, "HELO client.example.net"), (end.into(), Step::Close));
        drop(other_standing);
        assert_eq!(say(&mut one, "RSET").0, "250 2.0.0 Ok\r\n");
        assert!(permits.take().is_some(), "who has gone, has no permit");
    }
}
