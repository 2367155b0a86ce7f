//! Files of cases: a head, then cases, each with options, what is done, and what came of it.
//!
//! | line | what |
//! | --- | --- |
//! | before the first case | the head, for whoever plays the file |
//! | `== NAME` | a case begins |
//! | `-o NAME=VALUE` | an option of it |
//! | `# TEXT` | a comment on the case that follows |
//! | others | what is done and what came of it, in the order in which they are written, by [`Marks`] |

/// A case of a file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) options: Vec<String>,
    /// What is done.
    pub(crate) script: Vec<String>,
    /// What is done, and what came of it.
    pub(crate) results: Vec<String>,
    comments: Vec<String>,
}

/// A file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct CaseFile {
    pub(crate) head: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

/// How lines begin.
pub(crate) struct Marks {
    /// Those that tell what is done.
    pub(crate) script: &'static [char],
    /// Those that tell what came of it; any other line when this is nothing.
    pub(crate) results: Option<&'static [char]>,
}

impl CaseFile {
    /// Takes a file apart.
    ///
    /// # Panics
    /// When a line begins with none of the marks.
    pub(crate) fn parse(text: &str, marks: &Marks) -> CaseFile {
        let mut file = CaseFile::default();
        let mut comments = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                let comments = std::mem::take(&mut comments);
                file.cases.push(Case { name: name.to_owned(), comments, ..Case::default() });
                continue;
            }
            let Some(case) = file.cases.last_mut() else {
                file.head.push(line.to_owned());
                continue;
            };
            if line.starts_with('#') {
                comments.push(line.to_owned());
            } else if let Some(option) = line.strip_prefix("-o ") {
                case.options.push(option.to_owned());
            } else if line.starts_with(marks.script) {
                case.script.push(line.to_owned());
                case.results.push(line.to_owned());
            } else if !line.is_empty() {
                let says_something = marks.results.is_none_or(|marks| line.starts_with(marks));
                assert!(says_something, "a line that says nothing: {line}");
                case.results.push(line.to_owned());
            }
        }
        file
    }

    /// The file, put together again.
    pub(crate) fn text(&self) -> String {
        let mut text = self.head.join("\n").trim_end().to_owned() + "\n";
        for case in &self.cases {
            text.push('\n');
            case.comments.iter().for_each(|comment| text += &format!("{comment}\n"));
            text += &format!("== {}\n", case.name);
            case.options.iter().for_each(|option| text += &format!("-o {option}\n"));
            case.results.iter().for_each(|line| text += &format!("{line}\n"));
        }
        text
    }
}

/// A text in which `\xNN` are bytes.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or("").as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
