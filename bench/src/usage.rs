//! CPU time and memory of an instance, as the kernel counts them.

use std::fs;

/// Ticks a second in `/proc`: fixed for programs on every Linux of today.
const TICKS: f64 = 100.0;

/// User and system seconds of all processes in the group, and of the leader's children that have ended.
pub(crate) fn cpu_of_group(leader: i32) -> f64 {
    let ticks: f64 = group(leader).iter().map(|process| process.ticks).sum();
    ticks / TICKS
}

/// User and system seconds of this process's children that have ended.
pub(crate) fn cpu_of_ended_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    fields.skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// KiB of memory that the processes of the group have together: each page counted once, however many share it.
pub(crate) fn memory_of_group(leader: i32) -> f64 {
    group(leader).iter().filter_map(|process| field(process.pid, "smaps_rollup", "Pss:")).sum()
}

/// KiB resident of the process of the group that has most.
pub(crate) fn largest_of_group(leader: i32) -> f64 {
    let resident = |process: &Process| field(process.pid, "status", "VmRSS:");
    group(leader).iter().filter_map(resident).fold(0.0, f64::max)
}

/// KiB of memory that the processes of the group with this name have together, as [`memory_of_group`].
pub(crate) fn memory_of_named(leader: i32, name: &str) -> f64 {
    let processes = group(leader);
    let named = processes.iter().filter(|process| is_named(process, name));
    named.filter_map(|process| field(process.pid, "smaps_rollup", "Pss:")).sum()
}

/// KiB resident of the process of the group with this name.
pub(crate) fn largest_named(leader: i32, name: &str) -> f64 {
    let resident = |process: &Process| field(process.pid, "status", "VmRSS:");
    group(leader).iter().filter(|process| is_named(process, name)).filter_map(resident).fold(0.0, f64::max)
}

fn is_named(process: &Process, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/comm", process.pid)).is_ok_and(|comm| comm.trim_end() == name)
}

struct Process {
    pid: i32,
    ticks: f64,
}

fn group(leader: i32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| process(&stat, leader)).collect()
}

/// A process, if it belongs to the group. Fields are counted behind the name, which may hold anything.
fn process(stat: &str, leader: i32) -> Option<Process> {
    let pid: i32 = stat.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields.get(2)?.parse::<i32>().ok()? != leader {
        return None;
    }
    let own = if pid == leader { 11..15 } else { 11..13 };
    let ticks = own.map(|index| fields.get(index)?.parse::<f64>().ok()).sum::<Option<f64>>()?;
    Some(Process { pid, ticks })
}

fn field(pid: i32, file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
