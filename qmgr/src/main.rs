//! The queue manager.

#![forbid(unsafe_code)]

fn main() -> ! {
    server::trigger::<qmgr::QueueManager>("qmgr")
}
