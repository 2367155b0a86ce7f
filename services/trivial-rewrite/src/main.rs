//! The trivial-rewrite service.

#![forbid(unsafe_code)]

fn main() -> ! {
    server::multi::<trivial_rewrite::service::TrivialRewrite>("trivial-rewrite")
}
