//! Connections to RabbitMQ, for nodes and external workers: `amqp://` in plain text, `amqps://` over TLS.
//!
//! The TCP or TLS connection is opened here and passed to lapin, for two reasons: lapin's TLS needs a reader of PKCS #12
//! and twenty more packages; and without its TLS feature, lapin accepts an `amqps://` address and sends the password in
//! plain text.
//!
//! An address may contain a password, so neither the address nor a library's error about it is ever shown.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream, TryFutureExt};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::tls::{TlsRoots, TlsRootsError};

/// How long a call to the broker may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The delivery mode of messages that survive a restart of the broker.
pub const PERSISTENT: u8 = 2;

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not an address of RabbitMQ.
    #[error(
        "not an address of RabbitMQ; write amqp://USER:PASSWORD@HOST:PORT/%2f, or amqps:// for TLS, and in the password \
         %40 for @, %2f for / and %25 for %"
    )]
    Malformed,
    /// Authorities were given for a connection without TLS.
    #[error("{0} names authorities for TLS, but the address is amqp://; write amqps:// to use TLS")]
    NoTls(&'static str),
    /// The authorities cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsRootsError),
}

/// The broker could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No connection to its address.
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// The server does not speak TLS although the address says so, or the other way round, or its certificate is refused.
    /// The message says what to change.
    #[error("{0}")]
    Tls(String),
    /// An error of the client library.
    #[error("{0}")]
    Client(#[from] lapin::Error),
    /// No answer in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The connection or a consumer ended.
    #[error("the connection ended")]
    Ended,
    /// No queue accepted the message.
    #[error("no queue accepted the message")]
    Unroutable,
    /// A message cannot be encoded.
    #[error("cannot encode a message: {0}")]
    Encode(#[from] serde_json::Error),
}

/// The address of RabbitMQ with credentials and TLS roots.
#[derive(Clone)]
pub struct Address {
    uri: AMQPUri,
    tls: Option<(ServerName<'static>, TlsRoots)>,
}

/// Checks an address.
pub fn check(url: &str) -> Result<(), AddressError> {
    parse(url).map(drop)
}

fn parse(url: &str) -> Result<(AMQPUri, ServerName<'static>), AddressError> {
    let mut uri: AMQPUri = url.parse().map_err(|_| AddressError::Malformed)?;
    // lapin ignores a host in brackets and connects to this machine instead.
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
pub fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Address {
    /// The address `url`. TLS trusts the authorities in the file `ca`, or else the public ones. Errors name `option` as the
    /// setting of `ca`.
    pub fn new(url: &str, ca: Option<&Path>, option: &'static str) -> Result<Self, AddressError> {
        let (uri, name) = parse(url)?;
        let tls = match (&uri.scheme, ca) {
            (AMQPScheme::AMQPS, ca) => Some((name, TlsRoots::new(ca, option)?)),
            (AMQPScheme::AMQP, None) => None,
            (AMQPScheme::AMQP, Some(_)) => return Err(AddressError::NoTls(option)),
        };
        Ok(Self { uri, tls })
    }

    /// Whether traffic to it can be read on the network.
    pub fn is_plain_text(&self) -> bool {
        self.tls.is_none() && !is_local(&self.uri.authority.host)
    }

    /// Connects under the connection name `name`.
    pub async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let stream = tokio::time::timeout(TIMEOUT, self.open()).await.map_err(|_| BrokerError::Timeout)??;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), BrokerRuntime(Tokio::current())));
        let stream = Mutex::new(Some(stream));
        // Callers make a new connection when one has ended, so lapin asks once.
        let provide = async move |_, _| match stream.lock().take() {
            Some(stream) => Ok(AsyncTcpStream::Plain(stream)),
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        };
        match with_timeout(Connection::connector(self.uri.clone(), runtime, provide, properties)).await {
            Err(BrokerError::Client(error)) if self.tls.is_none() && is_no_amqp(&error) => {
                Err(BrokerError::Tls(format!(
                    "{} accepts connections but does not speak AMQP; if that is its port for TLS, write amqps://",
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

    async fn open(&self) -> Result<BrokerStream, BrokerError> {
        let (host, port) = (self.uri.authority.host.as_str(), self.uri.authority.port);
        let stream = TcpStream::connect((host, port)).await.map_err(BrokerError::Unreachable)?;
        stream.set_nodelay(true).map_err(BrokerError::Unreachable)?;
        let Some((name, roots)) = &self.tls else { return Ok(boxed(stream)) };
        let server = self.server();
        roots.connector().connect(name.clone(), stream).await.map(boxed).map_err(|error| {
            BrokerError::Tls(roots.explain(&error, &server).unwrap_or_else(|| {
                format!("{server} closes the connection during the TLS handshake ({error}); is that its port for TLS?")
            }))
        })
    }
}

/// Whether the server closed the connection or answered in another protocol.
fn is_no_amqp(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::IOError(_) | ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_))
}

/// Limits the log to one line for each outage of the broker, and one for each new error that says what to change.
#[derive(Default)]
pub struct LogOnce(Option<String>);

impl LogOnce {
    /// Whether this error should be logged.
    pub fn is_new(&mut self, error: &BrokerError) -> bool {
        let advice = if let BrokerError::Tls(advice) = error { advice.as_str() } else { "" };
        match &self.0 {
            Some(last) if advice.is_empty() || last == advice => false,
            _ => {
                self.0 = Some(advice.to_owned());
                true
            }
        }
    }

    /// The broker is back.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

/// The arguments that make a queue a quorum queue.
pub fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

/// Waits up to [`TIMEOUT`] for the answer to a call.
pub async fn with_timeout<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Timeout),
    }
}

/// A connection with or without TLS.
trait Transport: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Transport for T {}

type BrokerStream = Compat<Box<dyn Transport>>;

fn boxed(transport: impl Transport + 'static) -> BrokerStream {
    let transport: Box<dyn Transport> = Box::new(transport);
    transport.compat()
}

/// The tokio runtime for lapin, with our kind of connection.
#[derive(Debug, Clone)]
struct BrokerRuntime(Tokio);

impl Reactor for BrokerRuntime {
    type TcpStream = BrokerStream;
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
        TcpStream::connect(address).map_ok(boxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
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
    fn errors_do_not_contain_the_password() {
        for url in ["amqp:ada:secret@rabbit", "amqp://ada:secret@rabbit:port", "amqp://ada:secret@[rabbit]"] {
            let said = Address::new(url, None, "--ca").map(drop).unwrap_err();
            assert!(!format!("{said} {said:?}").contains("secret"), "{said}");
        }
        let said = Address::new("amqp://rabbit", Some(Path::new("ca.pem")), "--ca").map(drop).unwrap_err();
        assert!(said.to_string().contains("amqps://"), "{said}");
    }

    #[test]
    fn local_addresses_need_no_tls() {
        let clear = |url: &str| Address::new(url, None, "--ca").unwrap().is_plain_text();
        assert!(clear("amqp://rabbit") && clear("amqp://192.0.2.7") && clear("amqp://localhost.example"));
        assert!(!clear("amqp://localhost") && !clear("amqp://127.0.0.9:1") && !clear("amqp://[::1]"));
        assert!(!clear("amqps://rabbit"));
    }

    #[test]
    fn an_outage_is_logged_once_and_advice_when_it_changes() {
        let mut log = LogOnce::default();
        let tls = |advice: &str| BrokerError::Tls(advice.into());
        assert!(log.is_new(&BrokerError::Ended));
        assert!(!log.is_new(&BrokerError::Timeout));
        assert!(log.is_new(&tls("name another authority")));
        assert!(!log.is_new(&tls("name another authority")));
        assert!(!log.is_new(&BrokerError::Timeout));
        assert!(log.is_new(&tls("renew the certificate")));
        log.reset();
        assert!(log.is_new(&BrokerError::Timeout));
    }
}
