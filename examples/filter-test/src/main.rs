//! Tests any SMTP before-queue content filter, in whatever language it is written.
//!
//!     filter-test --filter 127.0.0.1:10025 --listen 127.0.0.1:10026
//!
//! It plays the server in front of the filter, and listens as the one behind it, to which the filter must pass mail on. Each
//! check prints one line: `pass`, `FAIL` with the reason, or `-` with the reason why it says nothing here. Exit status: 0
//! when nothing failed, 1 when something did, 2 when the test could not begin.

mod check;
mod checks;
mod client;
mod message;
mod options;
mod sink;

use std::process::ExitCode;

use check::{Context, Outcome};

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            for check in checks::ALL {
                println!("{:20} {}", check.name, check.about);
            }
            return ExitCode::SUCCESS;
        }
        Err(error) => return cannot(&error),
    };
    let context = match Context::new(options) {
        Ok(context) => context,
        Err(error) => return cannot(&error),
    };
    let (mut passed, mut failed, mut silent) = (0, 0, 0);
    for check in checks::ALL.iter().filter(|check| context.options.wants(check.name)) {
        let outcome = (check.run)(&context);
        context.sink.polite();
        context.sink.next_check();
        match &outcome {
            Outcome::Pass(note) if note.is_empty() => println!("pass {}", check.name),
            Outcome::Pass(note) => println!("pass {}: {note}", check.name),
            Outcome::Fail(reason) => println!("FAIL {}: {reason}", check.name),
            Outcome::Silent(reason) => println!("-    {}: {reason}", check.name),
        }
        match outcome {
            Outcome::Pass(_) => passed += 1,
            Outcome::Silent(_) => silent += 1,
            Outcome::Fail(_) => {
                failed += 1;
                if check.vital {
                    println!("without {} nothing else can be tried", check.name);
                    break;
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed, {silent} not tried");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cannot(error: &str) -> ExitCode {
    eprintln!("filter-test: {error}");
    ExitCode::from(2)
}
