//! The natural logarithm, for SQLite, whose full-text search ranks by it.
//!
//! Nothing else in the house needs the C library's mathematics, which are a shared library of their own: each process would
//! load it at its start, and bind some hundred functions of it that are there in several kinds for several processors.

/// The C library's function, under its name: SQLite's code finds this one first.
// SAFETY: it is what C declares as `double log(double)`, and no other of that name is linked statically.
#[unsafe(no_mangle)]
extern "C" fn log(x: f64) -> f64 {
    libm::log(x)
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_the_standard_library() {
        for x in [1e-300_f64, 0.5, 1.0, 3.0, 1e300] {
            let other = x.log2() * std::f64::consts::LN_2;
            assert!((super::log(x) - other).abs() <= 1e-12 * other.abs(), "{x}");
        }
        assert!(super::log(-1.0).is_nan());
        assert_eq!(super::log(0.0), f64::NEG_INFINITY);
    }
}
