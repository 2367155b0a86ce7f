//! Perl-compatible regular expressions: the PCRE2 library, 8 bit, with its just-in-time compiler where it has one.
//!
//! The library's own limits bound the time and memory of a match. A match that needs more stack than compiled code has
//! is done again by the interpreter.

use std::ptr::{self, NonNull};

use pcre2_sys::{
    PCRE2_ANCHORED, PCRE2_CASELESS, PCRE2_DOLLAR_ENDONLY, PCRE2_DOTALL, PCRE2_ERROR_JIT_STACKLIMIT,
    PCRE2_ERROR_NOMATCH, PCRE2_EXTENDED, PCRE2_INFO_CAPTURECOUNT, PCRE2_INFO_JITSIZE, PCRE2_JIT_COMPLETE,
    PCRE2_MULTILINE, PCRE2_NO_JIT, PCRE2_UNGREEDY, PCRE2_UNSET, pcre2_code_8, pcre2_code_free_8,
    pcre2_compile_8, pcre2_get_error_message_8, pcre2_get_ovector_count_8, pcre2_get_ovector_pointer_8,
    pcre2_jit_compile_8, pcre2_jit_match_8, pcre2_match_8, pcre2_match_context_8, pcre2_match_data_8,
    pcre2_match_data_create_8, pcre2_match_data_free_8, pcre2_pattern_info_8,
};

/// Letters match in both cases.
pub const CASELESS: u32 = PCRE2_CASELESS;
/// `^` and `$` match at lines.
pub const MULTILINE: u32 = PCRE2_MULTILINE;
/// `.` matches a newline.
pub const DOTALL: u32 = PCRE2_DOTALL;
/// White space and comments in the expression mean nothing.
pub const EXTENDED: u32 = PCRE2_EXTENDED;
/// The match starts where the subject starts.
pub const ANCHORED: u32 = PCRE2_ANCHORED;
/// `$` matches at the very end alone.
pub const DOLLAR_ENDONLY: u32 = PCRE2_DOLLAR_ENDONLY;
/// Repetitions are short unless marked.
pub const UNGREEDY: u32 = PCRE2_UNGREEDY;

/// Why an expression is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Where in the expression.
    pub offset: usize,
    /// The library's text.
    pub text: String,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    code: NonNull<pcre2_code_8>,
    groups: u32,
    compiled: bool,
}

// SAFETY: the library never changes a compiled expression while matching; it may be used by several threads at once.
unsafe impl Send for Expression {}
// SAFETY: as above.
unsafe impl Sync for Expression {}

fn message(number: i32) -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer is writable for the length given; the call ends the text with a NUL within it.
    let length = unsafe { pcre2_get_error_message_8(number, buffer.as_mut_ptr(), buffer.len()) };
    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

impl Expression {
    /// Compiles an expression; `options` are those of this module, or'ed.
    ///
    /// # Errors
    /// What the library says is wrong with it.
    pub fn new(pattern: &[u8], options: u32) -> Result<Expression, CompileError> {
        let (mut number, mut offset) = (0, 0);
        // SAFETY: the pattern is readable for its length; number and offset outlive the call; no context is given.
        let code = unsafe {
            pcre2_compile_8(
                pattern.as_ptr(),
                pattern.len(),
                options,
                &raw mut number,
                &raw mut offset,
                ptr::null_mut(),
            )
        };
        let Some(code) = NonNull::new(code) else {
            return Err(CompileError { offset, text: message(number) });
        };
        let mut groups = 0u32;
        // SAFETY: the code is valid; this request writes a u32, which groups is.
        unsafe { pcre2_pattern_info_8(code.as_ptr(), PCRE2_INFO_CAPTURECOUNT, (&raw mut groups).cast()) };
        // SAFETY: the code is valid and not yet shared. A machine without such a compiler uses the interpreter.
        unsafe { pcre2_jit_compile_8(code.as_ptr(), PCRE2_JIT_COMPLETE) };
        let mut size = 0usize;
        // SAFETY: the code is valid; this request writes a size_t, which size is.
        let told = unsafe { pcre2_pattern_info_8(code.as_ptr(), PCRE2_INFO_JITSIZE, (&raw mut size).cast()) };
        Ok(Expression { code, groups, compiled: told == 0 && size > 0 })
    }

    /// The number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups as usize
    }
}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: the code came from the library, and nobody else has it.
        unsafe { pcre2_code_free_8(self.code.as_ptr()) };
    }
}

/// `pcre2_match` and `pcre2_jit_match`.
type Run = unsafe extern "C" fn(
    *const pcre2_code_8,
    *const u8,
    usize,
    usize,
    u32,
    *mut pcre2_match_data_8,
    *mut pcre2_match_context_8,
) -> i32;

/// Room for the result of a match.
#[derive(Debug)]
pub struct Matcher {
    data: NonNull<pcre2_match_data_8>,
}

// SAFETY: the block belongs to its holder alone; the library keeps nothing about the thread that made it.
unsafe impl Send for Matcher {}

impl Matcher {
    /// Room for the whole match and `groups` groups; `None` when there is no memory.
    #[must_use]
    pub fn new(groups: usize) -> Option<Matcher> {
        let pairs = u32::try_from(groups).unwrap_or(u32::MAX - 1).saturating_add(1);
        // SAFETY: takes a number and an optional context.
        let data = unsafe { pcre2_match_data_create_8(pairs, ptr::null_mut()) };
        NonNull::new(data).map(|data| Matcher { data })
    }

    /// Whether the expression matches the subject.
    ///
    /// # Errors
    /// The library's text: a limit was reached.
    pub fn matches(&mut self, expression: &Expression, subject: &[u8]) -> Result<bool, String> {
        let mut result = PCRE2_ERROR_JIT_STACKLIMIT;
        if expression.compiled {
            result = self.run(pcre2_jit_match_8, expression, subject, 0);
        }
        if result == PCRE2_ERROR_JIT_STACKLIMIT {
            result = self.run(pcre2_match_8, expression, subject, PCRE2_NO_JIT);
        }
        match result {
            PCRE2_ERROR_NOMATCH => Ok(false),
            // Zero: there was no room for all groups.
            0.. => Ok(true),
            error => Err(message(error)),
        }
    }

    fn run(&mut self, run: Run, expression: &Expression, subject: &[u8], options: u32) -> i32 {
        // SAFETY: expression and block are valid; the subject is readable for its length; no context is given. Of the
        // two functions, the one that runs compiled code checks less: it needs an expression that has such code, no
        // options, and a valid subject, which without UTF-8 is any.
        unsafe {
            run(
                expression.code.as_ptr(),
                subject.as_ptr(),
                subject.len(),
                0,
                options,
                self.data.as_ptr(),
                ptr::null_mut(),
            )
        }
    }

    /// What group `number` matched, after a match; 0 is the whole.
    #[must_use]
    pub fn span(&self, number: usize) -> Option<(usize, usize)> {
        // SAFETY: the block is valid; the vector has two numbers a pair, and the library writes all of them.
        let pairs = unsafe {
            let count = pcre2_get_ovector_count_8(self.data.as_ptr()) as usize;
            std::slice::from_raw_parts(pcre2_get_ovector_pointer_8(self.data.as_ptr()), count * 2)
        };
        let (from, to) = (*pairs.get(number * 2)?, *pairs.get(number * 2 + 1)?);
        (from != PCRE2_UNSET && from <= to).then_some((from, to))
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        // SAFETY: the block came from the library, and nobody else has it.
        unsafe { pcre2_match_data_free_8(self.data.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_groups() {
        let expression = Expression::new(b"(a)(x)?(b+)", CASELESS).unwrap();
        let mut matcher = Matcher::new(expression.groups()).unwrap();
        assert!(matcher.matches(&expression, b"--ABB").unwrap());
        assert_eq!(matcher.span(3), Some((3, 5)));
        assert_eq!(matcher.span(2), None);
        assert!(!matcher.matches(&expression, b"zz").unwrap());
        let error = Expression::new(b"(a", 0).unwrap_err();
        assert_eq!((error.offset, error.text.as_str()), (2, "missing closing parenthesis"));
    }
}
