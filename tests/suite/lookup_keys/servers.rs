//! Servers of tcp and socketmap tables that note what they are asked for, and know what the test tells them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Tables and keys, as `TABLE KEY`, in the order of the questions.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Vec<String>>>);

impl Noted {
    fn add(&self, table: &str, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{table} {key}"));
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a table has for a key in lower case.
pub(super) type Answer = fn(&str, &str) -> Option<&'static str>;

/// The servers of one instance.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) noted: Noted,
    socketmap: u16,
    tcp: HashMap<String, u16>,
}

impl Servers {
    /// One tcp server for each table, as its requests do not name one, and a socketmap server for all.
    pub(super) fn start(tables: &[&str], answer: Answer) -> Servers {
        let noted = Noted::default();
        let serve = |table: Option<String>| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let noted = noted.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (table, noted) = (table.clone(), noted.clone());
                    thread::spawn(move || match table {
                        Some(table) => converse_tcp(stream, &table, &noted, answer),
                        None => converse_socketmap(stream, &noted, answer),
                    });
                }
            });
            port
        };
        let tcp =
            tables.iter().map(|table| ((*table).to_owned(), serve(Some((*table).to_owned())))).collect();
        Servers { socketmap: serve(None), tcp, noted: noted.clone() }
    }

    pub(super) fn tcp(&self, table: &str) -> String {
        format!("tcp:127.0.0.1:{}", self.tcp[table])
    }

    pub(super) fn socketmap(&self, table: &str) -> String {
        format!("socketmap:inet:127.0.0.1:{}:{table}", self.socketmap)
    }
}

fn converse_tcp(mut stream: TcpStream, table: &str, noted: &Noted, answer: Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 0 {
        let key = unquoted(line.trim_end().strip_prefix("get ")?);
        noted.add(table, &key);
        let reply = match answer(table, &key.to_lowercase()) {
            Some(value) => format!("200 {}\n", value.replace(' ', "%20")),
            None => "500 none\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).ok()?;
        line.clear();
    }
    Some(())
}

/// `%XX` as the byte that it stands for.
fn unquoted(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let coded = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = coded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn converse_socketmap(mut stream: TcpStream, noted: &Noted, answer: Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut length = Vec::new();
        reader.read_until(b':', &mut length).ok()?;
        length.pop()?;
        let length: usize = std::str::from_utf8(&length).ok()?.parse().ok()?;
        let mut text = vec![0; length + 1];
        reader.read_exact(&mut text).ok()?;
        text.pop();
        let text = String::from_utf8_lossy(&text).into_owned();
        let (table, key) = text.split_once(' ')?;
        noted.add(table, key);
        let reply = match answer(table, &key.to_lowercase()) {
            Some(value) => format!("OK {value}"),
            None => "NOTFOUND ".to_owned(),
        };
        stream.write_all(format!("{}:{reply},", reply.len()).as_bytes()).ok()?;
    }
}
