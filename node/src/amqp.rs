//! The line to RabbitMQ, of the nodes and of workers outside: `amqp://` as it is, `amqps://` over TLS.
//!
//! The connection is opened here and handed to lapin when it stands. Two things speak against leaving it to lapin: its own
//! TLS comes with a reader of PKCS #12 and twenty packages more, and built without that it takes an `amqps://` address and
//! speaks in the clear, the password first.
//!
//! An address may hold a password, so neither it nor what a library says of it is ever shown.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream, TryFutureExt};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::trust::{Trust, TrustError};

/// How long any single question to the broker may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// AMQP's delivery mode of messages that should outlive the broker's restart.
pub(crate) const PERSISTENT: u8 = 2;

/// An address leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is none.
    #[error(
        "that is no address of RabbitMQ; write amqp://USER:PASSWORD@HOST:PORT/%2f, or amqps:// for TLS, and within the \
         password %40 for @, %2f for / and %25 for %"
    )]
    Malformed,
    /// Authorities were named for a line without TLS.
    #[error("{0} names authorities, and the address is amqp://; write amqps:// to go over TLS")]
    Needless(&'static str),
    /// The authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// The broker could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// There is nobody at its address.
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// The line is of another kind than the address says, or its certificate is refused, and somebody has to mend that.
    #[error("{0}")]
    Tls(String),
    /// The client's library says why.
    #[error("{0}")]
    Client(#[from] lapin::Error),
    /// It does not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The connection or a consumer ended.
    #[error("the connection ended")]
    Ended,
    /// A message was not taken.
    #[error("no queue took the message")]
    Unroutable,
    /// A hint has no written form.
    #[error("the hint could not be written: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Where RabbitMQ is, who is let in, and whose certificate is believed.
#[derive(Clone)]
pub(crate) struct Address {
    uri: AMQPUri,
    tls: Option<(ServerName<'static>, Trust)>,
}

/// Whether this is an address of RabbitMQ.
pub(crate) fn check(url: &str) -> Result<(), AddressError> {
    parse(url).map(drop)
}

fn parse(url: &str) -> Result<(AMQPUri, ServerName<'static>), AddressError> {
    let mut uri: AMQPUri = url.parse().map_err(|_| AddressError::Malformed)?;
    // The library overlooks a host in brackets and goes to this machine instead.
    if let Some(host) = in_brackets(url) {
        uri.authority.host = host.parse::<Ipv6Addr>().map_err(|_| AddressError::Malformed)?.to_string();
    }
    let name = ServerName::try_from(uri.authority.host.clone()).map_err(|_| AddressError::Malformed)?;
    Ok((uri, name))
}

fn in_brackets(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split(']').next()
}

/// Whether a host can only be this machine.
pub(crate) fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Address {
    /// The address `url`, over TLS believing the authorities in the file `ca`, which `option` names, or the public ones.
    pub(crate) fn new(url: &str, ca: Option<&Path>, option: &'static str) -> Result<Self, AddressError> {
        let (uri, name) = parse(url)?;
        let tls = match (&uri.scheme, ca) {
            (AMQPScheme::AMQPS, ca) => Some((name, Trust::new(ca, option)?)),
            (AMQPScheme::AMQP, None) => None,
            (AMQPScheme::AMQP, Some(_)) => return Err(AddressError::Needless(option)),
        };
        Ok(Self { uri, tls })
    }

    /// Whether what goes there can be read on the way.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.tls.is_none() && !is_here(&self.uri.authority.host)
    }

    /// Connects as `name`.
    pub(crate) async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let line = tokio::time::timeout(PATIENCE, self.open()).await.map_err(|_| BrokerError::Silent)??;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), Lines(Tokio::current())));
        let line = Mutex::new(Some(line));
        // Whoever uses the connection makes a new one when it has ended, so lapin asks once.
        let hand_over = async move |_, _| match line.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(line) => Ok(AsyncTcpStream::Plain(line)),
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        };
        match patiently(Connection::connector(self.uri.clone(), runtime, hand_over, properties)).await {
            Err(BrokerError::Client(error)) if self.tls.is_none() && is_no_amqp(&error) => {
                Err(BrokerError::Tls(format!(
                    "{} takes connections and does not speak AMQP; if that is its port for TLS, write amqps://",
                    self.server()
                )))
            }
            connected => connected,
        }
    }

    fn server(&self) -> String {
        let (host, port) = (&self.uri.authority.host, self.uri.authority.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    async fn open(&self) -> Result<Line, BrokerError> {
        let (host, port) = (self.uri.authority.host.as_str(), self.uri.authority.port);
        let stream = TcpStream::connect((host, port)).await.map_err(BrokerError::Unreachable)?;
        stream.set_nodelay(true).map_err(BrokerError::Unreachable)?;
        let Some((name, trust)) = &self.tls else { return Ok(line(stream)) };
        let server = self.server();
        trust.connector().connect(name.clone(), stream).await.map(line).map_err(|error| {
            BrokerError::Tls(trust.explain(&error, &server).unwrap_or_else(|| {
                format!("{server} ends the connection where TLS should begin ({error}); is that its port for TLS?")
            }))
        })
    }
}

/// Whether what came back was nothing, or nothing that can be read.
fn is_no_amqp(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::IOError(_) | ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_))
}

/// What was said of a broker that does not answer: once for each silence, and again where something is to be mended.
#[derive(Default)]
pub(crate) struct Complaint(Option<String>);

impl Complaint {
    /// Whether this is to be said.
    pub(crate) fn is_new(&mut self, error: &BrokerError) -> bool {
        let advice = if let BrokerError::Tls(advice) = error { advice.as_str() } else { "" };
        match &self.0 {
            Some(said) if advice.is_empty() || said == advice => false,
            _ => {
                self.0 = Some(advice.to_owned());
                true
            }
        }
    }

    /// The broker answers.
    pub(crate) fn is_over(&mut self) {
        self.0 = None;
    }
}

/// The arguments that make a queue a quorum queue.
pub(crate) fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

/// Waits for the answer to a question, but not for ever.
pub(crate) async fn patiently<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Silent),
    }
}

/// A connection, whether or not it is encrypted.
trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

type Line = Compat<Box<dyn Wire>>;

fn line(wire: impl Wire + 'static) -> Line {
    let wire: Box<dyn Wire> = Box::new(wire);
    wire.compat()
}

/// tokio as lapin knows it, but for the kind of connection.
#[derive(Debug, Clone)]
struct Lines(Tokio);

impl Reactor for Lines {
    type TcpStream = Line;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        TcpStream::connect(address).map_ok(line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_leads_where_it_says() {
        for (url, host, port) in [
            ("amqp://guest:guest@127.0.0.1:5672/%2f", "127.0.0.1", 5672),
            ("amqps://ada:p%40ss@rabbit", "rabbit", 5671),
            ("amqps://ada:word@[2001:db8::7]:5671/%2f", "2001:db8::7", 5671),
            ("amqp://[::1]", "::1", 5672),
        ] {
            let (uri, _) = parse(url).unwrap();
            assert_eq!((uri.authority.host.as_str(), uri.authority.port), (host, port), "{url}");
        }
        for url in ["", "rabbit", "rabbit:5672", "http://rabbit", "amqps:rabbit", "amqp://[rabbit]", "amqp://h:999999"]
        {
            assert!(check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_refused_address_does_not_tell_the_password() {
        for url in ["amqp:ada:secret@rabbit", "amqp://ada:secret@rabbit:port", "amqp://ada:secret@[rabbit]"] {
            let said = Address::new(url, None, "--ca").map(drop).unwrap_err();
            assert!(!format!("{said} {said:?}").contains("secret"), "{said}");
        }
        let said = Address::new("amqp://rabbit", Some(Path::new("ca.pem")), "--ca").map(drop).unwrap_err();
        assert!(said.to_string().contains("amqps://"), "{said}");
    }

    #[test]
    fn what_stays_on_this_machine_needs_no_tls() {
        let clear = |url: &str| Address::new(url, None, "--ca").unwrap().is_in_the_clear();
        assert!(clear("amqp://rabbit") && clear("amqp://192.0.2.7") && clear("amqp://localhost.example"));
        assert!(!clear("amqp://localhost") && !clear("amqp://127.0.0.9:1") && !clear("amqp://[::1]"));
        assert!(!clear("amqps://rabbit"));
    }

    #[test]
    fn a_silence_is_told_once_and_what_can_be_mended_each_time_it_changes() {
        let mut complaint = Complaint::default();
        let tls = |advice: &str| BrokerError::Tls(advice.into());
        assert!(complaint.is_new(&BrokerError::Ended));
        assert!(!complaint.is_new(&BrokerError::Silent));
        assert!(complaint.is_new(&tls("name another authority")));
        assert!(!complaint.is_new(&tls("name another authority")));
        assert!(!complaint.is_new(&BrokerError::Silent));
        assert!(complaint.is_new(&tls("renew the certificate")));
        complaint.is_over();
        assert!(complaint.is_new(&BrokerError::Silent));
    }
}
