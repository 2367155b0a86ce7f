//! The mark of Postern's own programs: a note of the ELF format, which a linker puts at the beginning of a program.
//!
//! Who looks for Postfix's programs in a folder passes over Postern's by it, without reading them: they are megabytes.

/// The bytes of a note of this name without a description: the lengths of both, a type, and the name.
pub const NOTE: [u8; 20] = *b"\x08\0\0\0\0\0\0\0\x01\0\0\0Postern\0";
/// Within so many bytes of the beginning it is.
pub const HEAD: usize = 4096;

#[repr(C, align(4))]
struct Aligned([u8; 20]);

// SAFETY: the section is this note's own, and has the form that notes have; nobody writes to it.
#[used]
#[unsafe(link_section = ".note.postern")]
static MARK: Aligned = Aligned(NOTE);

#[cfg(test)]
mod tests {
    #[test]
    fn this_program_has_it() {
        let own = std::env::current_exe().and_then(std::fs::read).expect("it runs");
        let is_marked = own[..super::HEAD].windows(super::NOTE.len()).any(|window| window == super::NOTE);
        assert!(is_marked);
    }
}
