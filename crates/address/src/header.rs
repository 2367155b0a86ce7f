//! Address lists of message headers: phrases, comments, routes and groups around the addresses.
//!
//! [`AddressList`] keeps a header's whole text as a list of nodes, so that its addresses can be replaced
//! and the header written again. It reads from right to left, as Postfix does: only on reaching `:` or `<`
//! from the right is it known whether the words before are a phrase. Nothing is refused. Missing commas are
//! added, and comments in front of a bare address move behind it. Source: spec cleanup 11; the finer points
//! observed on 3.7.11 (see the table of the test).
//!
//! ```
//! use address::header::{AddressList, DEFAULT_TOKEN_LIMIT};
//! let mut list = AddressList::parse(b"Joe <joe>, (note) bob", DEFAULT_TOKEN_LIMIT);
//! list.rewrite(|address| Ok::<_, ()>([address, b"@example.com"].concat())).unwrap();
//! let members: Vec<_> = list.external_members().into_iter().map(|m| m.text).collect();
//! assert_eq!(members, [&b"Joe <joe@example.com>,"[..], b"bob@example.com (note)"]);
//! ```

use crate::token::{self, Scanner, Token};

/// Postfix's default of `header_address_token_limit`.
pub const DEFAULT_TOKEN_LIMIT: usize = 10240;

/// Most bytes of other text around the addresses of one list member.
const COMMENT_LIMIT: usize = 250;

/// Room for most addresses.
const USUAL_LENGTH: usize = 64;

/// A piece of a header with addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// A word of a phrase, a comment, or punctuation.
    Text(Token),
    /// The colon after the name of a group.
    GroupColon,
    /// The tokens of one address, without comments; none in `<>`.
    Address(Vec<Token>),
}

impl Node {
    fn is_text(&self, byte: u8) -> bool {
        matches!(self, Node::Text(token) if token.is(byte))
    }

    fn is_word(&self) -> bool {
        match self {
            Node::Text(token) => !matches!(token, Token::Operator(_)),
            Node::GroupColon => false,
            Node::Address(_) => true,
        }
    }
}

/// One member of a list, with the comma that ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member in external form; a comment in it is kept as it was folded.
    pub text: Vec<u8>,
    /// When the member had too much text beside its address, that text; `text` is then `<address>`. Log the
    /// first 100 bytes as `stripping too many comments from address: TEXT...`.
    pub stripped: Option<Vec<u8>>,
}

/// The addresses of a header and all text around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    nodes: Vec<Node>,
}

impl AddressList {
    /// Reads the value of an address header; what follows the first `token_limit` tokens is lost.
    #[must_use]
    pub fn parse(text: &[u8], token_limit: usize) -> AddressList {
        let tokens: Vec<Token> = Scanner::new(text).take(token_limit).collect();
        let mut parser = Parser { rest: tokens, nodes: Vec::new(), in_group: false, phrase: Phrase::None };
        parser.run();
        parser.nodes.reverse();
        AddressList { nodes: parser.nodes }
    }

    /// The tokens of each address, in order; empty for `<>`.
    pub fn addresses(&self) -> impl Iterator<Item = &[Token]> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Address(tokens) => Some(tokens.as_slice()),
            _ => None,
        })
    }

    /// Each address in internal form. `<>` is none, unlike `""`, which is empty. To be asked before
    /// [`AddressList::rewrite`].
    pub fn internal_addresses(&self) -> impl Iterator<Item = Vec<u8>> {
        self.addresses().filter(|tokens| !tokens.is_empty()).map(internal)
    }

    /// The same addresses in external form, as they are rewritten: with a space at the end of one that ends in a comma, as
    /// one does that a `>` stands behind which nothing opens (observed, 3.7.11).
    pub fn external_addresses(&self) -> impl Iterator<Item = Vec<u8>> {
        self.addresses().filter(|tokens| !tokens.is_empty()).map(to_rewrite)
    }

    /// Whether there is anything besides addresses and brackets, paired or not.
    #[must_use]
    pub(crate) fn has_other_text(&self) -> bool {
        let bracket = |node: &Node| node.is_text(b'<') || node.is_text(b'>');
        self.nodes.iter().any(|node| !matches!(node, Node::Address(_)) && !bracket(node))
    }

    /// Gives each address, except the one of `<>`, to `rewrite` in external form and puts the external form
    /// that it returns in its place. Tells whether any address has changed.
    ///
    /// # Errors
    ///
    /// The first error of `rewrite`; addresses before it have been replaced.
    pub fn rewrite<E>(&mut self, mut rewrite: impl FnMut(&[u8]) -> Result<Vec<u8>, E>) -> Result<bool, E> {
        let mut changed = false;
        for node in &mut self.nodes {
            if let Node::Address(tokens) = node
                && !tokens.is_empty()
            {
                // Rewriting takes a space at the end away, and the header is made anew (observed, 3.7.11).
                let old = to_rewrite(tokens);
                // A lone backslash: an empty word, which only quotes can show. That is no change by itself.
                let new = if old.is_empty() { b"\"\"".to_vec() } else { rewrite(&old)? };
                if new != old {
                    // One token, to be written back exactly as it came.
                    *tokens = vec![Token::Atom(new)];
                    changed |= !old.is_empty();
                }
            }
        }
        Ok(changed)
    }

    /// The list in external form, one entry a member; a trailing comma makes an empty last one.
    #[must_use]
    pub fn external_members(&self) -> Vec<Member> {
        let mut nodes = self.nodes.as_slice();
        let mut members = Vec::new();
        while let Some(comma) = nodes.iter().position(|node| node.is_text(b',')) {
            members.push(member(&nodes[..=comma]));
            nodes = &nodes[comma + 1..];
        }
        members.push(member(nodes));
        members
    }
}

/// An address that a step of rewriting has changed, as the next step and the header have it: it is read and written
/// once more, which what only looks like an address does not survive as it is (observed, 3.7.11).
#[must_use]
pub fn reread(address: &[u8]) -> Vec<u8> {
    token::external(&token::scan(address))
}

/// The internal form of an address of a header. Nothing is kept apart here, neither neighbouring words nor the
/// domains of a route.
fn internal(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_LENGTH);
    for token in tokens {
        match token {
            Token::QuotedString(text) => out.extend_from_slice(text),
            Token::DomainLiteral(text) => out.extend([b"[", &text[..], b"]"].concat()),
            _ => write_text(token, &mut out),
        }
    }
    out
}

fn to_rewrite(tokens: &[Token]) -> Vec<u8> {
    let mut address = external(tokens);
    if tokens.last().is_some_and(|last| last.is(b',')) {
        address.push(b' ');
    }
    address
}

/// An address of a header as it was written, less white space and comments: each quoted string stays one.
fn external(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_LENGTH);
    let mut previous: Option<&Token> = None;
    for token in tokens {
        if previous.is_some_and(|previous| previous.is(b',') || token.is(b'<')) {
            out.push(b' ');
        }
        write_text(token, &mut out);
        previous = Some(token);
    }
    out
}

fn member(nodes: &[Node]) -> Member {
    let mut text = Vec::new();
    let mut last_address: Option<Vec<u8>> = None;
    let mut previous: Option<&Node> = None;
    for node in nodes {
        if let Some(previous) = previous
            && (previous.is_word() && node.is_word()
                || matches!(previous, Node::GroupColon)
                || node.is_text(b'<'))
        {
            text.push(b' ');
        }
        match node {
            Node::Address(tokens) => {
                let address = external(tokens);
                text.extend_from_slice(&address);
                last_address = Some(address);
            }
            Node::GroupColon => text.push(b':'),
            Node::Text(token) => write_text(token, &mut text),
        }
        previous = Some(node);
    }
    let comma: &[u8] = if previous.is_some_and(|node| node.is_text(b',')) { b"," } else { b"" };
    match last_address {
        // Of several addresses, as in a group, those before the last count as text (observed).
        Some(address) if text.len() - address.len() - comma.len() > COMMENT_LIMIT => {
            Member { text: [b"<", address.as_slice(), b">", comma].concat(), stripped: Some(text) }
        }
        _ => Member { text, stripped: None },
    }
}

fn write_text(token: &Token, out: &mut Vec<u8>) {
    match token {
        Token::Atom(text) | Token::Comment(text) => out.extend_from_slice(text),
        Token::QuotedString(text) => {
            out.push(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\' | b'\r') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'"');
        }
        Token::DomainLiteral(text) => {
            out.push(b'[');
            for byte in text {
                if matches!(byte, b'\\' | b'\r') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b']');
        }
        Token::Operator(byte) => out.push(*byte),
    }
}

/// What words to the left are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phrase {
    /// Addresses.
    None,
    /// The phrase in front of `<`.
    BeforeRoute,
    /// The name of a group, up to the next comma.
    GroupName,
}

/// Takes tokens from the right end; `nodes` is in reverse order.
struct Parser {
    rest: Vec<Token>,
    nodes: Vec<Node>,
    in_group: bool,
    phrase: Phrase,
}

impl Parser {
    fn run(&mut self) {
        while let Some(token) = self.rest.pop() {
            match token {
                Token::Operator(b',') => {
                    self.phrase = Phrase::None;
                    self.nodes.push(Node::Text(token));
                }
                _ if self.phrase == Phrase::GroupName => self.nodes.push(Node::Text(token)),
                Token::Operator(b';') => {
                    self.phrase = Phrase::None;
                    self.in_group = true;
                    self.nodes.push(Node::Text(token));
                }
                Token::Operator(b':') if self.in_group => {
                    self.phrase = Phrase::GroupName;
                    self.nodes.push(Node::GroupColon);
                }
                Token::Operator(b':') if self.phrase == Phrase::BeforeRoute => {
                    self.phrase = Phrase::None;
                    self.nodes.push(Node::Text(token));
                }
                Token::Operator(b'>') => {
                    self.nodes.push(Node::Text(token));
                    self.route();
                }
                Token::Comment(_) => self.nodes.push(Node::Text(token)),
                _ if self.phrase == Phrase::BeforeRoute => self.nodes.push(Node::Text(token)),
                _ => {
                    self.rest.push(token);
                    self.bare_address();
                }
            }
        }
    }

    /// Everything up to `<`; comments go behind the address.
    fn route(&mut self) {
        let mut address = Vec::new();
        let mut found = false;
        while let Some(token) = self.rest.pop() {
            match token {
                Token::Operator(b'<') => {
                    found = true;
                    break;
                }
                Token::Comment(_) => self.nodes.push(Node::Text(token)),
                _ => address.push(token),
            }
        }
        address.reverse();
        if found || !address.is_empty() {
            self.nodes.push(Node::Address(address));
        }
        if found {
            self.nodes.push(Node::Text(Token::Operator(b'<')));
            self.phrase = Phrase::BeforeRoute;
        }
    }

    /// An address without brackets: up to punctuation that cannot be in it, or to a second word in a row.
    fn bare_address(&mut self) {
        let mut address: Vec<Token> = Vec::new();
        let mut comma = false;
        while let Some(token) = self.rest.pop() {
            let word = !matches!(token, Token::Operator(_));
            let stop = match token {
                Token::Comment(_) => {
                    self.nodes.push(Node::Text(token));
                    continue;
                }
                Token::Operator(b',' | b';' | b'>') => true,
                Token::Operator(b':') => self.in_group,
                _ => word && address.last().is_some_and(|last| !matches!(last, Token::Operator(_))),
            };
            if stop {
                comma = !token.is(b',') && !token.is(b':');
                self.rest.push(token);
                break;
            }
            address.push(token);
        }
        address.reverse();
        self.nodes.push(Node::Address(address));
        if comma {
            self.nodes.push(Node::Text(Token::Operator(b',')));
        }
    }
}
