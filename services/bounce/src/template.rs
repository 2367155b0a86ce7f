//! Templates: what a notice says before it comes to recipients (spec bounce 17).
//!
//! A template is header lines (`Charset`, `From`, `Subject`, `Postmaster-Subject`), empty lines, and a body, in which each line
//! is expanded when a notice is written. One that makes no sense is logged when it is first wanted, and the built-in one used.

use crate::builtin;
use crate::kind::Kind;

/// A template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    /// The file that it is from, for warnings.
    pub(crate) origin: String,
    pub(crate) charset: Vec<u8>,
    pub(crate) from: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// For notices that can go to the postmaster.
    pub(crate) postmaster_subject: Option<Vec<u8>>,
    /// Lines.
    pub(crate) body: Vec<Vec<u8>>,
}

impl Template {
    /// The built-in one; `from` is the sender.
    pub(crate) fn builtin(kind: Kind, from: &str) -> Self {
        let (subject, postmaster_subject) = builtin::subjects(kind);
        Self {
            kind,
            origin: "[built-in]".to_owned(),
            charset: b"us-ascii".to_vec(),
            from: from.as_bytes().to_vec(),
            subject: subject.as_bytes().to_vec(),
            postmaster_subject: postmaster_subject.map(|subject| subject.as_bytes().to_vec()),
            body: builtin::body(kind).lines().map(|line| line.as_bytes().to_vec()).collect(),
        }
    }

    /// Reads the lines of a template from a file. Without header lines all is body.
    ///
    /// # Errors
    /// What to warn of; the template is of no use.
    pub(crate) fn parse(
        kind: Kind,
        origin: &str,
        lines: &[Vec<u8>],
        from: &str,
    ) -> Result<Self, Vec<String>> {
        let mut template = Self { origin: origin.to_owned(), ..Self::builtin(kind, from) };
        let name = kind.name();
        let ignored = |what: String| vec![format!("{origin}: {what} -- ignoring this template")];
        // Empty lines may stand before the header, but none of blanks.
        let mut rest = &lines[lines.iter().take_while(|line| line.is_empty()).count()..];
        while let Some((line, behind)) = rest.split_first() {
            let Some((label, value)) = header(line) else { break };
            rest = behind;
            let shown = String::from_utf8_lossy(label).into_owned();
            if value.is_empty() {
                return Err(ignored(format!("empty \"{shown}\" header value in {name} template")));
            }
            if !value.is_ascii() {
                return Err(ignored(format!("non-ASCII \"{shown}\" header value in {name} template")));
            }
            let value = value.to_vec();
            match label.to_ascii_lowercase().as_slice() {
                b"charset" => template.charset = value,
                b"from" => template.from = value,
                b"subject" => template.subject = value,
                b"postmaster-subject" if template.postmaster_subject.is_some() => {
                    template.postmaster_subject = Some(value);
                }
                b"postmaster-subject" => {
                    return Err(ignored(format!("inapplicable \"{shown}\" header label in {name} template")));
                }
                _ => return Err(ignored(format!("unknown \"{shown}\" header label in {name} template"))),
            }
        }
        while let Some((line, behind)) = rest.split_first().filter(|(line, _)| line.trim_ascii().is_empty()) {
            let _ = line;
            rest = behind;
        }
        if rest.is_empty() {
            return Err(ignored(format!("missing message text in {name} template")));
        }
        template.body = rest.to_vec();
        if template.has_8_bits() && template.charset.eq_ignore_ascii_case(b"us-ascii") {
            return Err(vec![
                format!("{origin}: 8-bit message text in {name} template"),
                "please specify a charset value other than us-ascii".to_owned(),
                "-- ignoring this template for now".to_owned(),
            ]);
        }
        Ok(template)
    }

    fn has_8_bits(&self) -> bool {
        !self.body.iter().all(|line| line.is_ascii())
    }

    /// The encoding of the body.
    pub(crate) fn encoding(&self) -> &'static str {
        if self.has_8_bits() { "8bit" } else { "7bit" }
    }

    /// As it stands in a file, without the name.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut field = |label: &str, value: &[u8]| {
            text.extend_from_slice(label.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.push(b'\n');
        };
        field("Charset", &self.charset);
        field("From", &self.from);
        field("Subject", &self.subject);
        if let Some(subject) = &self.postmaster_subject {
            field("Postmaster-Subject", subject);
        }
        for line in std::iter::once(&Vec::new()).chain(&self.body) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text
    }
}

/// A header line: label and value.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|byte| !(b'!'..=b'~').contains(byte) || *byte == b':')?;
    let behind = line[end..].trim_ascii_start();
    let value = behind.strip_prefix(b":")?;
    // Blanks at its end are part of it.
    (end > 0).then(|| (&line[..end], value.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, text: &str) -> Result<Template, Vec<String>> {
        let lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        Template::parse(kind, "F", &lines, builtin::FROM)
    }

    #[test]
    fn templates() {
        let template = parse(Kind::Failure, "charset: utf-8\nSUBJECT :  x \n\n\nbody: 1\n\n2").unwrap();
        assert_eq!((&template.charset[..], &template.subject[..]), (&b"utf-8"[..], &b"x "[..]));
        assert_eq!(template.body, [&b"body: 1"[..], b"", b"2"]);
        assert_eq!(parse(Kind::Verify, "only text").unwrap().body.len(), 1);
        assert_eq!(parse(Kind::Verify, "\n\nSubject: x\n\nText").unwrap().subject, b"x");
        assert_eq!(parse(Kind::Verify, " \nSubject: x\n\nText").unwrap().body.len(), 3);
        for (kind, text, expected) in [
            (
                Kind::Failure,
                "Subject:\n\nx",
                "F: empty \"Subject\" header value in failure template -- ignoring this template",
            ),
            (
                Kind::Failure,
                "Foo: x\n\nx",
                "F: unknown \"Foo\" header label in failure template -- ignoring this template",
            ),
            (
                Kind::Success,
                "Postmaster-Subject: x\n\nx",
                "F: inapplicable \"Postmaster-Subject\" header label in success template -- ignoring this template",
            ),
            (
                Kind::Delay,
                "Subject: x\n\n",
                "F: missing message text in delay template -- ignoring this template",
            ),
            (Kind::Delay, "\u{e9}", "F: 8-bit message text in delay template"),
        ] {
            assert_eq!(parse(kind, text).unwrap_err()[0], expected);
        }
    }
}
