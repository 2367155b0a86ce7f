//! One login: what its client writes, step by step, and what comes of it (spec tls-sasl 17.4 and 19.4). The replies
//! in SMTP are the server's business.

use crate::client::Lent;
use crate::cyrus::Exchange;
use crate::line::Request;

/// What the server made of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Who it was.
    LoggedIn(Vec<u8>),
    /// The client has to respond to this, which is base64 if the server is right.
    Challenge(Vec<u8>),
    /// The server said no.
    Refused {
        /// Who wanted in, when the server tells.
        user: Option<Vec<u8>>,
        /// Why; empty when the server does not tell.
        reason: Vec<u8>,
    },
    /// Something does not work behind the server; the client may try again.
    Deferred {
        /// Who wanted in, when that is known.
        user: Option<Vec<u8>>,
        /// Why.
        reason: Vec<u8>,
    },
    /// There was no answer to speak of.
    Failed(Failure),
}

/// Why there was no answer, in Postfix's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The mechanism is not among those that the options let pass.
    #[error("Invalid authentication mechanism")]
    Mechanism,
    /// What came with AUTH is no base64.
    #[error("Invalid base64 data in initial response")]
    InitialResponse,
    /// A response is no base64.
    #[error("Invalid base64 data in continued response")]
    ContinuedResponse,
    /// Success without the name of the user.
    #[error("Authentication backend error")]
    NoUser,
    /// An answer without what it has to have.
    #[error("Authentication backend error")]
    Backend,
    /// The server hung up, or said nothing in time.
    #[error("Connection lost to authentication server")]
    ConnectionLost,
    /// Nobody listens, or the handshake failed: the log knows more. Postfix repeats the reason of the session's last
    /// failure, which is this one as a rule.
    #[error("Connection lost to authentication server")]
    NoConnection,
    /// Every connection breaks when it is written to.
    #[error("Can't connect to authentication server")]
    CannotConnect,
}

impl Failure {
    /// Whether the client may try again.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::NoConnection | Self::CannotConnect)
    }
}

/// A login that waits for its client's response.
#[derive(Debug)]
pub struct Login(Waiting);

#[derive(Debug)]
enum Waiting {
    Dovecot { client: Box<Lent>, id: u32 },
    Cyrus(Exchange),
}

impl Login {
    /// Starts a login at Dovecot's server; it goes on when the answer is a challenge.
    #[must_use]
    pub fn start(mut client: Lent, request: &Request<'_>) -> (Answer, Option<Self>) {
        let (id, answer) = client.start(request);
        let goes_on = matches!(answer, Answer::Challenge(_));
        (answer, goes_on.then(|| Self(Waiting::Dovecot { client: Box::new(client), id })))
    }

    pub(crate) fn of_cyrus(exchange: Exchange) -> Self {
        Self(Waiting::Cyrus(exchange))
    }

    /// Passes on the client's response.
    #[must_use]
    pub fn proceed(self, response: &[u8]) -> (Answer, Option<Self>) {
        match self.0 {
            Waiting::Dovecot { mut client, id } => {
                let answer = client.proceed(id, response);
                let goes_on = matches!(answer, Answer::Challenge(_));
                (answer, goes_on.then_some(Self(Waiting::Dovecot { client, id })))
            }
            Waiting::Cyrus(exchange) => {
                let (answer, exchange) = exchange.proceed(response);
                (answer, exchange.map(Self::of_cyrus))
            }
        }
    }
}
