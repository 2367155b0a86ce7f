//! Milters that send too much, or nothing that makes sense: a clear answer, nothing half-queued, and memory with a bound.

use std::fs;

use conformance::{Client, Instance, MilterPlay, MilterScript, Plan, ScriptedMilter, Suite};

/// What smtpd and cleanup may use, in KiB: twice the longest packet that is taken, and what a debug build starts with.
const MEMORY: u64 = 80 * 1024;
const MIB: usize = 1 << 20;

/// The most memory that a process of this daemon has used, in KiB.
fn peak(instance: &Instance, daemon: &str) -> u64 {
    let of = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    instance.processes(daemon).into_iter().map(of).max().unwrap_or(0)
}

fn packet(code: u8, length: u32, data: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[code], data].concat()
}

/// The reply to a message, or that to the command before which ended it.
fn send(instance: &Instance) -> String {
    let mut client = Client::connect(instance.smtp_port());
    let reply = client.send_message("a@example.net", &["b@example.com"], "Subject: x\r\n\r\nbody\r\n").text();
    client.command("QUIT");
    reply
}

#[test]
fn too_much_and_no_sense() {
    let milter = ScriptedMilter::start(MilterScript::default());
    let mut plan = Plan::new("milters-bounds");
    plan.set("smtpd_milters", &milter.endpoint())
        .set("milter_command_timeout", "2s")
        .set("milter_content_timeout", "2s")
        .set("message_size_limit", "0");
    let instance = plan.start();
    let later = "451 4.7.1 Service unavailable - try again later";
    let noise: Vec<u8> =
        (0..MIB).map(|number| u8::try_from((number * 31 + number / 7) % 251).expect("small")).collect();
    let close = |bytes: Vec<u8>| vec![MilterPlay::Bytes(bytes), MilterPlay::Close];
    for (name, code, plays, expected) in [
        ("noise at first", b'O', close(noise.clone()), later),
        ("noise for a sender", b'M', close(noise.clone()), later),
        ("noise at the end", b'E', close(noise), later),
        ("a packet without end", b'E', close(packet(b'h', 0x7fff_ffff, b"x")), later),
        ("an empty packet", b'R', close(vec![0; 64]), later),
        ("less than was announced", b'E', close(packet(b'h', 16_000_000, b"X\0")), later),
        ("silence", b'B', vec![MilterPlay::Silence], later),
        ("a word at a time", b'E', vec![MilterPlay::Bytes(b"\0\0\0".to_vec()), MilterPlay::Silence], later),
        (
            "much progress",
            b'M',
            [vec![MilterPlay::Bytes(packet(b'p', 1, b"").repeat(50_000))], vec![MilterPlay::code(b'r')]]
                .concat(),
            "550 5.7.1 Command rejected",
        ),
        (
            "a long reason",
            b'E',
            vec![MilterPlay::Packet(b'y', [b"550 5.7.1 ", &[b'x'; 4 * MIB][..], b"\0"].concat())],
            "550 5.7.1 xxx",
        ),
        (
            "long headers, and then gone",
            b'E',
            [
                vec![MilterPlay::Packet(b'h', [b"X\0", &[b'y'; 2 * MIB][..], b"\0"].concat()); 8],
                vec![MilterPlay::Close],
            ]
            .concat(),
            later,
        ),
        (
            "a large body, and then gone",
            b'E',
            [vec![MilterPlay::Packet(b'b', vec![b'z'; MIB]); 40], vec![MilterPlay::Close]].concat(),
            later,
        ),
    ] {
        milter.play(MilterScript::default().at(code, plays));
        let reply = send(&instance);
        assert!(reply.starts_with(expected), "{name}: {}", reply.get(..200).unwrap_or(&reply));
        for queue in ["incoming", "hold"] {
            let left = instance.queue(queue);
            assert!(left.is_empty(), "{name}: {left:?}");
        }
    }
    for daemon in ["smtpd", "cleanup"] {
        let used = peak(&instance, daemon);
        println!("{daemon}: {used} KiB");
        assert!(!Suite::under_test().is_ours(daemon) || (1..MEMORY).contains(&used), "{daemon}: {used} KiB");
    }
    // All that has harmed nobody.
    milter.play(MilterScript::default());
    assert!(send(&instance).starts_with("250 2.0.0 Ok: queued as "));
}
