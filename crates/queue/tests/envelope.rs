//! Envelopes of files recorded from Postfix 3.7.11, and of what may be met besides.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use queue::{Envelope, EnvelopeReader, Recipient, RecordType, RecordWriter, SizeRecord, attr};

type Reader = EnvelopeReader<Cursor<Vec<u8>>>;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(path).expect("a fixture")
}

fn reader(bytes: &[u8]) -> Reader {
    EnvelopeReader::new(Cursor::new(bytes.to_vec()), "x")
}

/// Reads all in batches.
fn in_batches(bytes: &[u8], limit: usize) -> (Envelope, Vec<Recipient<'static>>) {
    let mut envelope = Envelope::default();
    let mut all = Vec::new();
    let mut place = None;
    loop {
        // Each batch by a reader of its own, as a queue manager would that has closed the file meanwhile.
        let mut reader = reader(bytes);
        if let Some(place) = place {
            reader.go_to(place).expect("sought");
        }
        let mut batch = Vec::new();
        place = reader.gather(&mut envelope, &mut batch, limit).expect("whole records");
        assert!(batch.len() <= limit);
        all.extend(batch);
        if place.is_none() {
            return (envelope, all);
        }
    }
}

#[test]
fn recorded_files() {
    let (envelope, recipients) = in_batches(&fixture("smtpd-dsn-two-recipients"), 10);
    assert!(envelope.is_whole);
    let size = envelope.size.expect("a size record");
    assert_eq!(usize::try_from(size.rcpt_count).ok(), Some(recipients.len()));
    assert!(envelope.sender.is_some() && envelope.arrival.is_some());
    assert!(envelope.attributes.get(attr::CLIENT_ADDRESS.as_bytes()).is_some());
    assert!(envelope.attributes.get(attr::NOTIFY_FLAGS.as_bytes()).is_none());
    for recipient in &recipients {
        assert!(recipient.dsn_original.starts_with(b"rfc822;") || recipient.dsn_original.contains(&b';'));
        assert!(recipient.original.as_ref().is_some_and(|original| !original.is_empty()));
    }
    // One is done.
    let edited = fixture("edited-done-recipient");
    let mut reader = reader(&edited);
    let mut seen = (0, 0);
    while let Some(kind) = reader.advance().expect("whole records") {
        let recipient = reader.recipient();
        match kind {
            RecordType::RCPT => seen.0 += 1,
            RecordType::DONE => seen.1 += 1,
            _ => {
                assert_eq!(recipient, None);
                continue;
            }
        }
        let recipient = recipient.expect("a recipient");
        let at = usize::try_from(recipient.offset).expect("small");
        assert_eq!(edited[at], kind.0);
    }
    assert!(seen.1 > 0, "{seen:?}");
    assert_eq!(in_batches(&edited, 10).1.len(), seen.0);
}

#[test]
fn batches_of_any_size_are_the_same_recipients() {
    for name in
        ["smtpd-dsn-two-recipients", "edited-done-recipient", "headers-only", "maildrop-header-recipients"]
    {
        let bytes = fixture(name);
        let (_, whole) = in_batches(&bytes, usize::MAX);
        for limit in 1..4 {
            let (envelope, pieces) = in_batches(&bytes, limit);
            assert_eq!(pieces, whole, "{name} by {limit}");
            assert!(envelope.is_whole, "{name}");
        }
    }
}

/// A file with these records before `M` and behind `X`.
fn file(envelope: &[(RecordType, &str)], extracted: &[(RecordType, &str)]) -> Vec<u8> {
    let mut writer = RecordWriter::new(Vec::new());
    let mut size = SizeRecord::default();
    writer.write(RecordType::SIZE, &size.encode()).expect("written");
    let put = |writer: &mut RecordWriter<Vec<u8>>, records: &[(RecordType, &str)]| {
        for (kind, data) in records {
            writer.write(*kind, data.as_bytes()).expect("written");
        }
    };
    put(&mut writer, envelope);
    writer.write(RecordType::MESSAGE, b"").expect("written");
    size.data_offset = i64::try_from(writer.offset()).expect("small");
    // What would be a recipient elsewhere, if the content were not passed over.
    put(&mut writer, &[(RecordType::NORM, "a: b"), (RecordType::RCPT, "content@x"), (RecordType::NORM, "")]);
    size.data_size = i64::try_from(writer.offset()).expect("small") - size.data_offset;
    writer.write(RecordType::EXTRACTED, b"").expect("written");
    put(&mut writer, extracted);
    writer.write(RecordType::END, b"").expect("written");
    let mut bytes = writer.into_inner();
    let mut record = RecordWriter::new(Vec::new());
    record.write(RecordType::SIZE, &size.encode()).expect("written");
    bytes[..SizeRecord::RECORD_LENGTH].copy_from_slice(record.get_ref());
    bytes
}

#[test]
fn some_count_by_the_first_some_by_the_last() {
    use RecordType as T;
    let bytes = file(
        &[
            (T::TIME, "5 6"),
            (T::TIME, "7"),
            (T::FILTER, "smtp:a"),
            (T::ATTR, "trace_flags=256"),
            (T::ATTR, "trace_flags=1024"),
            (T::ATTR, "encoding=7bit"),
            (T::ATTR, "malformed"),
            (T::FROM, "a@x"),
            (T::FROM, "b@x"),
            (T::WARN, "             99"),
            (T::WARN, "             -1"),
            (T::VERP, "+="),
            (T::VERP, "-="),
            (T::ATTR, "notify_flags=4"),
            (T::ATTR, "dsn_orig_rcpt=rfc822;c@x"),
            (T::ORCPT, "o"),
            (T::DONE, "done@x"),
            (T::RCPT, "one@x"),
            (T::DSN_ORCPT, "rfc822;d@x"),
            (T::DSN_NOTIFY, "2"),
            (T::ORCPT, "first"),
            (T::ORCPT, "last"),
            (T::RCPT, "two@x"),
            (T::ORCPT, "three"),
            (T::RCPT, "three@x"),
        ],
        &[
            (T::FILTER, "smtp:b"),
            (T::REDIRECT, "all@x"),
            (T::ATTR, "encoding=8bit"),
            (T::RCPT, "four@x"),
            (T::ATTR, "behind=x"),
        ],
    );
    let check = |envelope: &Envelope| {
        assert_eq!(envelope.arrival.map(|time| (time.sec, time.usec)), Some((5, 6)));
        assert_eq!(envelope.sender.as_deref(), Some(&b"a@x"[..]));
        assert_eq!(envelope.verp_delimiters.as_deref(), Some(&b"+="[..]));
        assert_eq!(envelope.filter.as_deref(), Some(&b"smtp:b"[..]));
        assert_eq!(envelope.redirect.as_deref(), Some(&b"all@x"[..]));
        assert_eq!(envelope.attributes.get(b"encoding"), Some(&b"8bit"[..]));
        let (warning, trace) = (envelope.warning.expect("W"), envelope.trace_flags.expect("trace_flags"));
        assert_eq!((warning.value, trace.value), (99, 256));
        assert_eq!(bytes[usize::try_from(warning.offset).expect("small")], b'W');
        assert_eq!(bytes[usize::try_from(trace.offset).expect("small")], b'A');
    };
    let (envelope, recipients) = in_batches(&bytes, 100);
    check(&envelope);
    assert!(envelope.is_whole);
    assert_eq!(envelope.attributes.get(b"behind"), Some(&b"x"[..]));
    let shown: Vec<_> = recipients
        .iter()
        .map(|recipient| {
            let [address, dsn] =
                [&recipient.address, &recipient.dsn_original].map(|text| text.escape_ascii());
            let original = recipient.original.as_deref().unwrap_or(b"-").escape_ascii();
            format!("{address} {original} {dsn} {}", recipient.notify)
        })
        .collect();
    assert_eq!(shown, ["one@x -  0", "two@x last rfc822;d@x 2", "three@x three  0", "four@x -  0"]);
    // The same is known behind the first recipient, after a look ahead; the others follow.
    let mut reader = reader(&bytes);
    let (mut envelope, mut batch) = (Envelope::default(), Vec::new());
    let place = reader.gather(&mut envelope, &mut batch, 1).expect("whole records");
    reader.look_ahead(&mut envelope).expect("whole records");
    check(&envelope);
    assert_eq!((Some(reader.place()), envelope.is_whole), (place, false));
    assert_eq!(reader.gather(&mut envelope, &mut batch, 100).expect("whole records"), None);
    assert_eq!(batch, recipients);
}

/// Without a size record, and cut short, what is there is read.
#[test]
fn what_is_there_is_read() {
    let mut writer = RecordWriter::new(Vec::new());
    for (kind, data) in [
        (RecordType::FROM, "a@x"),
        (RecordType::RCPT, "one@x"),
        (RecordType::MESSAGE, ""),
        (RecordType::CONT, "text"),
        (RecordType::EXTRACTED, ""),
        (RecordType::FILTER, "smtp:x"),
        (RecordType::RCPT, "two@x"),
    ] {
        writer.write(kind, data.as_bytes()).expect("written");
    }
    let (envelope, recipients) = in_batches(writer.get_ref(), 1);
    assert_eq!(recipients.len(), 2);
    assert_eq!(envelope.filter.as_deref(), Some(&b"smtp:x"[..]));
    assert!(!envelope.is_whole);
    let mut short = reader(&writer.get_ref()[..writer.get_ref().len() - 1]);
    let error = short.gather(&mut Envelope::default(), &mut Vec::new(), 9).expect_err("cut short");
    assert_eq!(error.to_string(), "x: unexpected EOF in data, record type 82 length 5");
}
