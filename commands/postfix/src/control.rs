//! The commands (spec commands 2.1).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as Process;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use master::preflight::Effect;
use sys::signal::Signal;
use sys::{Pid, error_text};

use crate::drain::{self, Drain};
use crate::invocation::Invocation;
use crate::preflight::Verdict;
use crate::{check, chroot, debian, directories, logrotate, non_bdb, running};

/// Left by `quick-stop`: the next start does without checks.
const QUICK_START: &str = "quick-start";
const STARTING: &str = "starting the Postfix mail system";
/// How long the log daemon may take to write a line.
const LOG_PAUSE: Duration = Duration::from_millis(100);
/// How often `stop` looks, a second apart, before it uses force.
const STOP_TURNS: u32 = 5;

const USAGE: &str = "Usage: postfix start (or stop, reload, abort, flush, check, status, set-permissions, \
                     upgrade-configuration, logrotate";
/// The first version that tells of them.
const USAGE_SINCE_3_11: &str = ", tls, non-bdb";

/// Carries out the command; the exit status.
pub fn run(invocation: &Invocation) -> i32 {
    check::installation(invocation);
    // The terminal may go; what was begun is brought to its end.
    if sys::signal::ignore(Signal::SIGHUP).is_err() {
        invocation.report.warn("cannot ignore SIGHUP");
    }
    let name = invocation.command.to_string_lossy().into_owned();
    match name.as_str() {
        "start" => start(invocation),
        "start-fg" => start_in_foreground(invocation),
        "stop" => stop_or_drain(invocation),
        "quick-stop" => quick_stop(invocation),
        "drain" => tell_master(invocation, "stopping the Postfix mail system", Signal::SIGKILL),
        "abort" => tell_master(invocation, "aborting the Postfix mail system", Signal::SIGTERM),
        "reload" => reload(invocation),
        "flush" => pass_on(invocation, "postqueue", &["-f"]),
        "check" => check(invocation),
        "check-fatal" => i32::from(!check::essentials(invocation)),
        "check-warn" => i32::from(!check::warnings(invocation)),
        "chroot" => chroot::run(invocation),
        "debian-systemd-start" => start_in_unit(invocation),
        "status" => status(invocation),
        "set-permissions" => directories::set_permissions(invocation),
        "upgrade-configuration" => upgrade_configuration(invocation),
        "logrotate" => logrotate::run(invocation),
        "start_msg" => say("Start postfix"),
        "stop_msg" => say("Stop postfix"),
        "non-bdb" if invocation.globals().postfix_minor >= non_bdb::SINCE => non_bdb::run(invocation),
        "post-install" | "tls" => invocation.report.fatal(&format!(
            "'postfix {name}' is not part of Postern; use the Postfix installation's own command, or edit the files by \
             hand"
        )),
        path if path.starts_with('/') => run_program(invocation),
        _ => {
            let more = if invocation.globals().postfix_minor >= 11 { USAGE_SINCE_3_11 } else { "" };
            invocation.report.fatal(&format!("unknown command: '{name}'. {USAGE}{more})"))
        }
    }
}

/// `check`, or `check --json` for programs: then what is wrong with the configuration is on standard output.
fn check(invocation: &Invocation) -> i32 {
    let as_json = match invocation.arguments.as_slice() {
        [] => false,
        [word] if word == "--json" => true,
        _ => invocation.report.fatal("usage: postfix check [--json]"),
    };
    // Sockets need the directories they are in. Whether they could be made is told below.
    directories::create_missing(invocation);
    // Before the rest, as a missing master.cf ends what follows.
    let verdict = Verdict::of(invocation);
    if as_json {
        verdict.tell_as_json();
    } else {
        verdict.tell(invocation);
    }
    check::sockets(invocation);
    let is_sound = check::essentials(invocation) & check::warnings(invocation);
    i32::from(!is_sound || verdict.effect() != Effect::None)
}

fn say(text: &str) -> i32 {
    println!("{text}");
    0
}

fn prepare_start(invocation: &Invocation) {
    let report = &invocation.report;
    if running::is_there(invocation) {
        report.fatal("the Postfix mail system is already running");
    }
    if !forget_quick_start(invocation) {
        if !check::essentials(invocation) {
            report.fatal("Postfix integrity check failed!");
        }
        check::warnings(invocation);
        let verdict = Verdict::of(invocation);
        verdict.tell(invocation);
        if verdict.effect() == Effect::MasterDies {
            report.fatal("Postfix integrity check failed!");
        }
    }
}

/// Removes what `quick-stop` has left; whether there was something.
fn forget_quick_start(invocation: &Invocation) -> bool {
    match fs::remove_file(QUICK_START) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            invocation.report.warn(&format!("remove {QUICK_START}: {}", error_text(&error)));
            true
        }
    }
}

fn start(invocation: &Invocation) -> i32 {
    prepare_start(invocation);
    if let Some(unit) = debian::unit(invocation) {
        return debian::hand_over(invocation, &unit);
    }
    invocation.report.info(STARTING);
    match invocation.master().arg("-w").status() {
        Ok(status) if status.success() => 0,
        _ => invocation.report.fatal("mail system startup failed"),
    }
}

/// The second half of a start by Debian's unit, which has run `postfix check` before.
fn start_in_unit(invocation: &Invocation) -> i32 {
    forget_quick_start(invocation);
    if !debian::is_under_systemd() {
        invocation.report.fatal("the Postfix mail system is started through systemd but not under systemd?");
    }
    invocation.finish(invocation.master().arg("-w"))
}

/// This process becomes master, so that its supervisor's signals reach master itself.
fn start_in_foreground(invocation: &Invocation) -> i32 {
    if !invocation.globals().multi_instance_directories.trim().is_empty() {
        invocation.report.fatal("start-fg does not support multi_instance_directories");
    }
    prepare_start(invocation);
    invocation.report.info(STARTING);
    let option = if sys::process::pid().as_raw() == 1 { "-i" } else { "-s" };
    // An ignored signal stays ignored over exec, and master needs this one.
    let _ = sys::signal::default(Signal::SIGHUP);
    let error = invocation.master().arg(option).exec();
    invocation.report.fatal(&format!("cannot start-fg the master daemon: {}", error_text(&error)))
}

/// The next start is without checks, also when there was nothing to stop (observed).
fn quick_stop(invocation: &Invocation) -> i32 {
    if let Err(error) = File::create(QUICK_START) {
        invocation.report.fatal(&format!("{QUICK_START}: {}", error_text(&error)));
    }
    if running::is_there(invocation) {
        return stop(invocation);
    }
    invocation.report.failure("the Postfix mail system is not running");
    0
}

/// `stop`, or `stop --drain`, whose exit status says whether anything is left.
fn stop_or_drain(invocation: &Invocation) -> i32 {
    let words: Vec<_> = invocation.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match Drain::parse(&words) {
        Err(usage) => invocation.report.fatal(usage),
        Ok(None) => stop(invocation),
        Ok(Some(drain)) => {
            let is_drained = drain.wait(invocation);
            match stop(invocation) {
                0 => drain::tell_rest(invocation, is_drained),
                status => status,
            }
        }
    }
}

fn stop(invocation: &Invocation) -> i32 {
    let report = &invocation.report;
    running::require(invocation);
    report.info("stopping the Postfix mail system");
    let_log_daemon_write(invocation);
    let pid = running::pid(invocation);
    running::send(invocation, pid, Signal::SIGTERM);
    for _ in 0..STOP_TURNS {
        // master is gone within milliseconds, as a rule.
        for _ in 0..10 {
            if !running::is_there(invocation) {
                return 0;
            }
            sleep(Duration::from_millis(20));
        }
        report.info("waiting for the Postfix mail system to terminate");
        sleep(Duration::from_millis(800));
    }
    report.warn("stopping the Postfix mail system with force");
    if pid.as_raw() > 1 {
        running::send(invocation, Pid::from_raw(-pid.as_raw()), Signal::SIGKILL);
    }
    0
}

/// postlogd ends with the others, and a line that it has not read by then is lost.
fn let_log_daemon_write(invocation: &Invocation) {
    if invocation.globals().is_logged_by_postlogd() {
        sleep(LOG_PAUSE);
    }
}

fn tell_master(invocation: &Invocation, line: &str, signal: Signal) -> i32 {
    running::require(invocation);
    invocation.report.info(line);
    let_log_daemon_write(invocation);
    running::send(invocation, running::pid(invocation), signal)
}

fn reload(invocation: &Invocation) -> i32 {
    running::require(invocation);
    let verdict = Verdict::of(invocation);
    verdict.tell(invocation);
    check::sockets(invocation);
    if verdict.effect() != Effect::None {
        invocation.report.fatal(
            "the mail system is not refreshed, and goes on with the configuration that it has; correct the above and \
             reload again",
        );
    }
    invocation.report.info("refreshing the Postfix mail system");
    if !invocation.succeeds("postsuper", &["active"]) {
        return 1;
    }
    if running::send(invocation, running::pid(invocation), Signal::SIGHUP) != 0 {
        return 1;
    }
    // The rest of the queue may take long; nobody waits for it.
    match invocation.program(&invocation.globals().command_directory, "postsuper").spawn() {
        Ok(_) => 0,
        Err(error) => {
            invocation.report.warn(&format!("postsuper: {}", error_text(&error)));
            0
        }
    }
}

fn status(invocation: &Invocation) -> i32 {
    if !running::is_there(invocation) {
        invocation.report.info("the Postfix mail system is not running");
        return 1;
    }
    let pid = running::find().map(|pid| pid.to_string()).unwrap_or_else(|why| {
        invocation.report.warn(&why);
        String::new()
    });
    invocation.report.info(&format!("the Postfix mail system is running: PID: {pid}"));
    if invocation.globals().metrics_enable {
        tell_faults();
    }
    0
}

/// What is wrong, where that is counted: on standard output, which is empty otherwise. The log has it from those who found it.
fn tell_faults() {
    let now = SystemTime::now();
    match metrics::look(Path::new("pid")) {
        Ok(tables) => tables.faults.all().iter().for_each(|fault| {
            // Servers and clients have a part in it.
            println!("{}", fault.describe(now).to_string().replace(char::is_control, "?"));
        }),
        Err(why) => println!("faults are not known: {why}"),
    }
}

/// Makes missing directories, and adds the one service that the log may need.
fn upgrade_configuration(invocation: &Invocation) -> i32 {
    let report = &invocation.report;
    let path = invocation.config.directory().master_cf();
    if !directories::create_missing(invocation) || !debian::fill_jail(invocation) {
        report.fatal("unable to create missing queue directories");
    }
    if check::has_log_service(invocation) {
        return 0;
    }
    let service = &invocation.globals().postlog_service_name;
    let entry = format!("{service:<10} unix-dgram n  -       n       -       1       postlogd\n");
    let written =
        File::options().append(true).open(&path).and_then(|mut file| file.write_all(entry.as_bytes()));
    match written {
        Ok(()) => {
            report.info(&format!("editing {}, adding missing entry for {service} service", path.display()));
            0
        }
        Err(error) => report.fatal(&format!("{}: {}", path.display(), error_text(&error))),
    }
}

/// A command of the mail system takes over.
fn pass_on(invocation: &Invocation, name: &str, arguments: &[&str]) -> i32 {
    let mut process = invocation.program(&invocation.globals().command_directory, name);
    invocation.finish(process.args(arguments))
}

/// `postfix /path/to/program arguments`: in the same environment.
fn run_program(invocation: &Invocation) -> i32 {
    invocation.finish(Process::new(AsRef::<OsStr>::as_ref(&invocation.command)).args(&invocation.arguments))
}
