//! All unsafe code and raw libc of the workspace, behind safe functions without policy.
