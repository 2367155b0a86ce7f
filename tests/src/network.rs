//! Hosts of a farm as far as their networks go: each has name spaces of its own, joined by cables. All is gone when the last
//! process in one is. Needs the superuser.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A network name space. It is there as long as this is, and what runs in it.
#[derive(Debug)]
pub struct Network {
    holder: Child,
}

impl Network {
    /// Whether name spaces and their tools can be had here.
    pub fn possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| {
            let script =
                "ip link set lo up && ip link add v type veth peer name w && command -v nsenter bash";
            let mut command = Command::new("unshare");
            command.args(["--net", "sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }

    /// One with nothing but itself.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn new() -> Network {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec sleep 3600"]);
        let holder = command.stdin(Stdio::null()).spawn().expect("unshare");
        let network = Network { holder };
        let deadline = Instant::now() + PATIENCE;
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let is_up = || {
            let shown = network.command("ip").args(["link", "show", "up", "dev", "lo"]).output();
            of("self") != of(&network.id().to_string()) && shown.is_ok_and(|shown| !shown.stdout.is_empty())
        };
        while !is_up() {
            assert!(Instant::now() < deadline, "no network name space");
            thread::sleep(Duration::from_millis(10));
        }
        network
    }

    /// The process that keeps it.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// A program that sees this network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.id().to_string(), "-n", program]).stdin(Stdio::null());
        command
    }

    /// Runs a script in it.
    ///
    /// # Panics
    /// When a command of it fails.
    pub fn run(&self, script: &str) {
        let status = self.command("sh").args(["-ec", script]).status().expect("nsenter");
        assert!(status.success(), "{script}");
    }

    /// A cable to another: this end is `NET.1`, the other `NET.2`, which finds all others by it. From here it is spoken to
    /// as the address `own`, which this network has to have.
    pub fn link(&self, other: &Network, net: &str, own: &str) {
        let name = format!("v{}", other.id());
        self.run(&format!(
            "ip link add {name} type veth peer name e0 netns {}; ip addr add {net}.1/24 dev {name}; ip link set {name} up; \
             ip route add {net}.2/32 dev {name} src {own}",
            other.id()
        ));
        other.run(&format!(
            "ip addr add {net}.2/24 dev e0; ip link set e0 up; ip route add default via {net}.1"
        ));
    }
}

impl Default for Network {
    fn default() -> Self {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
