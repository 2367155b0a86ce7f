//! Rewriting to standard form (spec trivial-rewrite 3).

use address::token::{self, Token};
use ipc::rewrite::Rule;

use crate::params::Params;

/// The standard form of an address, both in external form.
#[must_use]
pub(crate) fn rewrite(params: &Params, rule: Rule, address: &[u8]) -> Vec<u8> {
    if address.is_empty() {
        log::warn!("rewrite_addr: null address");
        return Vec::new();
    }
    let mut tokens = token::scan(address);
    rewrite_tokens(params, rule, &mut tokens);
    token::external(&tokens)
}

/// The same on a token list; the steps are numbered as in the spec.
pub(crate) fn rewrite_tokens(params: &Params, rule: Rule, tokens: &mut Vec<Token>) {
    // 1, 2: the null address, and a lone @.
    if is_null(tokens) {
        return;
    }
    if let [only] = tokens.as_slice()
        && only.is(b'@')
    {
        *tokens = vec![Token::QuotedString(Vec::new())];
        return;
    }
    drop_source_route(tokens);
    let (origin, domain) = match rule {
        Rule::Local => (&params.own_domains.myorigin, &params.mydomain),
        Rule::Remote => (&params.remote_header_rewrite_domain, &params.remote_header_rewrite_domain),
    };
    if !tokens.iter().any(|token| token.is(b'@')) {
        add_domain(params, tokens, origin);
    }
    complete_domain(params, tokens, domain);
    // 6: one trailing dot.
    drop_trailing_dot(tokens);
}

/// Whether the list is a single empty quoted string.
pub(crate) fn is_null(tokens: &[Token]) -> bool {
    matches!(tokens, [Token::QuotedString(text)] if text.is_empty())
}

/// Drops a last `.` whose predecessor is neither `.` nor `@`: what is broken stays broken.
pub(crate) fn drop_trailing_dot(tokens: &mut Vec<Token>) {
    if let [.., before, last] = tokens.as_slice()
        && last.is(b'.')
        && !before.is(b'.')
        && !before.is(b'@')
    {
        tokens.pop();
    }
}

/// Step 3: `@a,@b:joe@c` becomes `joe@c`.
fn drop_source_route(tokens: &mut Vec<Token>) {
    if tokens.first().is_some_and(|first| first.is(b'@'))
        && let Some(colon) = tokens.iter().position(|token| token.is(b':'))
        && colon + 1 < tokens.len()
    {
        tokens.drain(..=colon);
    }
}

/// Step 4, for an address without `@`: `a!b`, `a%b`, or a bare local part.
fn add_domain(params: &Params, tokens: &mut Vec<Token>, origin: &[u8]) {
    if params.swap_bangpath
        && let Some(bang) = tokens.iter().position(|token| token.is(b'!'))
    {
        let right = tokens.split_off(bang + 1);
        tokens.pop();
        let left = std::mem::replace(tokens, right);
        if left.is_empty() {
            join_words(tokens);
        }
        tokens.push(Token::Operator(b'@'));
        tokens.extend(left);
    } else if params.allow_percent_hack
        && let Some(percent) = tokens.iter().rposition(|token| token.is(b'%'))
    {
        tokens[percent] = Token::Operator(b'@');
    } else if params.append_at_myorigin && !origin.is_empty() {
        tokens.push(Token::Operator(b'@'));
        tokens.extend(token::scan(origin));
    }
}

/// Makes one word of neighbouring ones, commas and `<` included: behind a leading `!`, Postfix 3.7 writes a
/// list without any space (observed: `!x y` becomes `xy@`).
fn join_words(tokens: &mut Vec<Token>) {
    let joins = |token: &Token| !matches!(token, Token::Operator(byte) if !matches!(byte, b',' | b'<'));
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        match joined.last_mut() {
            Some(last) if joins(last) && joins(&token) => {
                *last = Token::Atom([token::internal([&*last]), token::internal([&token])].concat());
            }
            // No space comes behind it, either.
            _ if joins(&token) => joined.push(Token::Atom(token::internal([&token]))),
            _ => joined.push(token),
        }
    }
    *tokens = joined;
}

/// Step 5: appends the domain to one without dots.
fn complete_domain(params: &Params, tokens: &mut Vec<Token>, domain: &[u8]) {
    if !params.append_dot_mydomain || domain.is_empty() {
        return;
    }
    let Some(at) = tokens.iter().rposition(|token| token.is(b'@')) else { return };
    let written = &tokens[at + 1..];
    let has_dot = written.iter().any(|token| token.is(b'.') || matches!(token, Token::DomainLiteral(_)));
    if written.is_empty() || has_dot {
        return;
    }
    if params.append_dot_mydomain_is_old_default
        && let [Token::Atom(name) | Token::QuotedString(name)] = written
    {
        tell_old_default(params, name);
    }
    tokens.push(Token::Operator(b'.'));
    tokens.extend(token::scan(domain));
}

fn tell_old_default(params: &Params, name: &[u8]) {
    let (name, mydomain) = (String::from_utf8_lossy(name), String::from_utf8_lossy(&params.mydomain));
    let text = config::compat::notice(&format!(
        "append_dot_mydomain=yes to rewrite \"{name}\" to \"{name}.{mydomain}\""
    ));
    if !name.eq_ignore_ascii_case("localhost") {
        log::info!("{text}");
    } else if !is_in_some_class(params, name.as_bytes()) {
        log::info!("{text}; please add \"localhost\" to mydestination or other address class");
    }
}

/// Whether some address class has this domain; lists that fail count as having it.
fn is_in_some_class(params: &Params, domain: &[u8]) -> bool {
    params.own_domains.has(domain).unwrap_or(true)
        || params.virtual_alias_domains.matches(domain).unwrap_or(true)
        || params.virtual_mailbox_domains.matches(domain).unwrap_or(true)
        || params.relay_domains.matches(domain).unwrap_or(true)
}
