//! The scache service.

#![forbid(unsafe_code)]

fn main() {
    server::multi::<scache::Scache>("scache")
}
